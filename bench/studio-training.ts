/** Training steps of the studio's training page, in a page and in Node. */

import * as runtime from "onnxruntime-web";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import sharp from "sharp";
import { nodeEngine } from "../src/engine/node.ts";
import { webEngine } from "../src/engine/web.ts";
import { learn } from "../src/web/learn/lesson.ts";

/** Seconds of a step in an open page, the mean after the first one, which also compiles. */
export async function pageSteps(
  page: Page,
  { device, steps }: { device: "wasm" | "webgpu"; steps: number },
): Promise<number> {
  await page.click("#open-learn");
  await page.selectOption("#learn-device", device);
  await page.click("#learn-start:enabled");
  // The page shows its speed with one digit, too few for a slow device.
  const after = async (least: number) => {
    const found = await page.waitForFunction(`(() => {
      const failed = document.querySelector("#learn-error").textContent;
      if (failed) throw new Error(failed);
      const done = Number(document.querySelector("#learn-steps").textContent);
      return done >= ${least} && { done, at: performance.now() };
    })()`);
    return (await found.jsonValue()) as { done: number; at: number };
  };
  const [from, to] = [await after(1), await after(steps + 1)];
  await page.click("#learn-reset");
  return (to.at - from.at) / 1000 / (to.done - from.done);
}

/** The same in Node, in one thread, on the pictures of hearts. */
export async function nodeSteps(steps: number): Promise<number> {
  const file = fileURLToPath(new URL("../src/web/learn/pictures/heart.png", import.meta.url));
  const train = Uint8Array.from(await sharp(file).removeAlpha().raw().toBuffer());
  runtime.env.wasm.numThreads = 1;
  const engines = {
    training: await nodeEngine({ threads: 1 }),
    sampling: (files: Record<string, Uint8Array>) => webEngine(runtime, { files }),
  };
  const seconds: number[] = [];
  for await (const one of learn({ name: "heart", train, heldOut: train.slice(0, 16 * 16 * 3) }, engines))
    if (one.kind === "step" && one.step > 1 && seconds.push(one.seconds) === steps) break;
  return seconds.reduce((a, b) => a + b, 0) / seconds.length;
}
