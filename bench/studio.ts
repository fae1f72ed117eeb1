/**
 * `npm run bench -- studio`: compares the studio in this machine's Chromium, on WASM and WebGPU, with Node on the same
 * processor: images of one model, and steps of the training page.
 */

import type { Browser, Page } from "playwright-core";
import { findModel } from "../src/cli/models.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { externalModel } from "../src/files/external.ts";
import { softwareWebGpu } from "../src/parity/chromium.ts";
import { createSampler } from "../src/sample/sampler.ts";
import { median } from "./engine.ts";
import { type Adapter, adapterOf, drawn, launchChromium, servedName, withStudio } from "./studio-page.ts";
import { nodeSteps, pageSteps } from "./studio-training.ts";

export interface StudioBench {
  model: string;
  images: number;
  iterations: number[];
  rounds: number;
  /** Training steps to measure after the first one; 0 for none. */
  steps: number;
  /** Measures WebGPU by Chromium's software driver if there is no graphics processor. */
  software?: boolean;
  json?: boolean;
}

/** Seconds of a batch, and of a training step if that was measured. */
interface Row {
  device: string;
  seconds: number;
  step?: number;
}

export async function benchStudio(bench: StudioBench): Promise<void> {
  const { model: asked, images, iterations, rounds, steps, software = false, json } = bench;
  const folder = await findModel(asked);
  const name = encodeURIComponent(servedName(folder));
  const classes = encodeURIComponent(folder.config.classes[0]);
  const rows: Row[] = [];
  await withStudio(folder, async ({ url, browser }) => {
    const address = `${url}/#model=${name}&classes=${classes}&n=${images}&iterations=${iterations}`;
    const measure = async (on: Browser, device: "wasm" | "webgpu", adapter?: Adapter) => {
      const page = await on.newPage();
      page.setDefaultTimeout(0);
      await page.goto(`${address}&device=${device}`);
      await drawn(page);
      const shown = (await page.textContent("#device-name"))!;
      if (device === "webgpu" && shown !== "WebGPU") console.error(await page.textContent("#device-reason"));
      else {
        const seconds = await timed(page, rounds);
        const step = steps > 0 ? await pageSteps(page, { device, steps }) : undefined;
        rows.push({ device: adapter ? `${shown} ${inWords(adapter)}` : shown, seconds, step });
      }
      await page.close();
    };
    await measure(browser, "wasm");
    for (const args of [hardwareWebGpu, ...(software ? [softwareWebGpu] : [])]) {
      const own = await launchChromium(args);
      try {
        const adapter = await adapterOf(own, url);
        if (!adapter || adapter.software !== (args === softwareWebGpu)) continue;
        await measure(own, "webgpu", adapter);
        break;
      } finally {
        await own.close();
      }
    }
  });
  if (rows.length === 1)
    console.error(
      `WebGPU was not measured: Chromium found no graphics processor${software ? " and no software driver" : " (--software measures it on the CPU)"}`,
    );
  const threads = Number(/(\d+) thread/.exec(rows[0].device)?.[1] ?? 1);
  const node: Row = {
    device: `Node, ${threads} thread${threads > 1 ? "s" : ""}`,
    seconds: await inNode({ folder, images, iterations, rounds, threads }),
    step: steps > 0 ? await nodeSteps(steps) : undefined,
  };
  const found = [node, ...rows].map(({ device, seconds, step }) => ({
    device,
    seconds,
    imagesPerSecond: images / seconds,
    ratio: seconds / node.seconds,
    ...(step && { stepsPerSecond: 1 / step, stepRatio: step / node.step! }),
  }));
  if (json) return console.log(JSON.stringify({ model: asked, images, iterations, rounds, found }));
  const wide = Math.max(...found.map(({ device }) => device.length));
  console.log(`${asked}: ${images} images per batch, iterations ${iterations}, median of ${rounds}`);
  for (const { device, seconds, ratio } of found)
    console.log(
      `  ${device.padEnd(wide)} ${seconds.toFixed(2).padStart(8)} s  ${(images / seconds).toFixed(2).padStart(6)} images/s  ${ratio.toFixed(2)} of Node's time`,
    );
  if (steps === 0) return;
  console.log(`training page: steps of 8 pictures, one thread, mean of ${steps}`);
  for (const { device, stepsPerSecond, stepRatio } of found)
    console.log(
      `  ${device.padEnd(wide)} ${stepsPerSecond!.toFixed(2).padStart(8)} steps/s  ${stepRatio!.toFixed(2)} of Node's time`,
    );
}

/** Headless Chromium leaves the graphics processor alone without them. */
const hardwareWebGpu = ["--enable-unsafe-webgpu", "--enable-features=Vulkan"];

const inWords = ({ name, software }: Adapter): string => (software ? `(${name}: software, not a GPU)` : `(${name})`);

/** Seconds from the click to the last step, measured in the page. */
const drawing = (seed: number) => `new Promise((resolve, reject) => {
  document.querySelector("#seed").value = "${seed}";
  const status = document.querySelector("#status");
  const started = performance.now();
  const watching = new MutationObserver(() => {
    const complaint = document.querySelector("#error").textContent;
    if (complaint) reject(new Error(complaint));
    if (!status.textContent.startsWith("Drew")) return;
    watching.disconnect();
    resolve((performance.now() - started) / 1000);
  });
  watching.observe(status, { childList: true, characterData: true, subtree: true });
  document.querySelector("#draw").click();
})`;

async function timed(page: Page, rounds: number): Promise<number> {
  const seconds: number[] = [];
  for (let round = 0; round < rounds; round++) seconds.push(await page.evaluate<number>(drawing(round + 2)));
  return median(seconds);
}

async function inNode({
  folder,
  images,
  iterations,
  rounds,
  threads,
}: Pick<StudioBench, "images" | "iterations" | "rounds"> & {
  folder: Awaited<ReturnType<typeof findModel>>;
  threads: number;
}): Promise<number> {
  const sampler = createSampler(await nodeEngine({ threads }), externalModel(folder));
  const labels = Array.from({ length: images }, () => 0);
  const seconds: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const started = performance.now();
    // The page computes the probabilities, too.
    const frames = sampler.sample({ labels, seed: round + 1, iterations, batch: images, watch: () => {} });
    for (let next = await frames.next(); !next.done;) next = await frames.next();
    if (round > 0) seconds.push((performance.now() - started) / 1000);
  }
  await sampler.dispose();
  return median(seconds);
}
