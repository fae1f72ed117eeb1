/** The training page in a real browser: what it learns, its controls, and what it loads. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as runtime from "onnxruntime-web";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeEngine } from "../../engine/node.ts";
import { webEngine } from "../../engine/web.ts";
import { softwareWebGpu } from "../../parity/chromium.ts";
import { thorough, softwareWebGpuTests } from "../../test-depth.ts";
import {
  type Built,
  canvasOf,
  executablePath,
  type Host,
  launch,
  patient,
  shippedStudio,
  staticHost,
  violations,
} from "../test-page.ts";
import { learn } from "./lesson.ts";
import { side } from "./protocol.ts";

if (!executablePath) console.warn("The training page is not tested: there is no chromium or google-chrome in PATH");

const desktop = { viewport: { width: 1280, height: 800 } };
const phone = {
  viewport: { width: 360, height: 740 },
  isMobile: true,
  hasTouch: true,
  reducedMotion: "reduce",
} as const;

/** The bits of the first steps on the pictures of hearts in Node. */
async function bitsInNode(steps: number): Promise<number[]> {
  const file = fileURLToPath(new URL("pictures/heart.png", import.meta.url));
  const images = Uint8Array.from(await sharp(readFileSync(file)).removeAlpha().raw().toBuffer());
  const from = images.length - 11 * side * side * 3; // the held-out ones are last
  const lesson = { name: "heart", train: images.slice(0, from), heldOut: images.slice(from) };
  runtime.env.wasm.numThreads = 1;
  const sampling = (files: Record<string, Uint8Array>) => webEngine(runtime, { files });
  const bits: number[] = [];
  for await (const one of learn(lesson, { training: await nodeEngine({ threads: 1 }), sampling }))
    if (one.kind === "step" && bits.push(one.bits) === steps) break;
  return bits;
}

describe.skipIf(!executablePath)("the training page", { timeout: patient }, () => {
  let built: Built;
  let host: Host;
  let browser: Browser;
  let page: Page;

  /** A page that notes the bits of every step. */
  async function opened(
    fields: string,
    options: BrowserContextOptions,
    { from = browser, at = host }: { from?: Browser; at?: Host } = {},
  ): Promise<Page> {
    const context = await from.newContext(options);
    context.setDefaultTimeout(patient);
    await context.addInitScript(() => {
      const bits: number[] = [];
      Object.assign(window, {
        bits,
        Worker: class extends Worker {
          constructor(...given: ConstructorParameters<typeof Worker>) {
            super(...given);
            this.addEventListener("message", ({ data }: MessageEvent) => data.kind === "step" && bits.push(data.bits));
          }
        },
      });
    });
    const on = await context.newPage();
    on.on("pageerror", (error) => expect.unreachable(`the page threw: ${error.message}`));
    await on.goto(`${at.address}${fields}`);
    return on;
  }
  const bitsOn = (on: Page) => on.evaluate(() => (window as unknown as { bits: number[] }).bits);
  const trained = async (on: Page, steps: number) => {
    await on.waitForFunction(
      (steps) =>
        (window as unknown as { bits: number[] }).bits.length >= steps ||
        document.querySelector("#learn-error")!.textContent !== "",
      steps,
    );
    expect(await on.textContent("#learn-error")).toBe("");
  };
  /** Numbers and the chart appear in the next frame. */
  const shows = (on: Page, element: string, pattern: RegExp) =>
    on.waitForFunction(
      ([element, source]) => {
        const { textContent, ariaLabel } = document.querySelector(`#learn-${element}`)!;
        return new RegExp(source).test(ariaLabel ?? textContent!);
      },
      [element, pattern.source],
    );

  beforeAll(async () => {
    built = await shippedStudio();
    host = await staticHost(built.folder);
    browser = await launch();
    page = await opened("#train", { ...desktop, serviceWorkers: "block" });
  }, patient);
  afterAll(async () => {
    await browser?.close();
    host?.close();
    built?.remove();
  });

  it.runIf(thorough)("learns hearts as Node does: the loss falls, and the drawings change", async () => {
    await page.waitForSelector("#learn-start:enabled");
    expect(await page.textContent("#learn-count")).toBe(
      "137 pictures to learn from, the first 32 shown, 11 only measured.",
    );
    await page.click("#learn-start");
    await page.waitForSelector("#learn-samples[aria-label*='after 0 steps']");
    const noise = await canvasOf(page, "#learn-samples");
    await trained(page, 12);
    const bits = await bitsOn(page);
    (await bitsInNode(3)).forEach((expected, i) => expect(bits[i]).toBeCloseTo(expected, 3));
    expect(bits[0]).toBeGreaterThan(7);
    expect(bits[11]).toBeLessThan(bits[0] - 1);
    await page.waitForSelector("#learn-samples:not([aria-label*='after 0 steps'])");
    expect(await canvasOf(page, "#learn-samples")).not.toEqual(noise);
    expect(await page.locator("#learn-history li").allTextContents()).toEqual(
      expect.arrayContaining(["step 0", expect.stringMatching(/^step [1-9]/)]),
    );
    await shows(page, "held-out", /^\d\.\d\d$/);
    await shows(page, "chart", /^Bits per byte, from [789]\.\d in the first step to \d\.\d in step \d+$/);
    expect(await page.locator("#learn-chart circle").count()).toBeGreaterThan(0);
  });

  it.runIf(thorough)("pauses, continues, pauses when it is left, and starts over", async () => {
    await page.click("#learn-start");
    await shows(page, "status", /^Paused after step \d+\.$/);
    const paused = await bitsOn(page);
    expect(await page.textContent("#learn-status")).toBe(`Paused after step ${paused.length}.`);
    await shows(page, "steps", new RegExp(`^${paused.length}$`));
    await page.waitForTimeout(1000);
    expect(await bitsOn(page)).toEqual(paused);
    expect(await violations(page)).toEqual([]);
    await page.click("#learn-start");
    await trained(page, paused.length + 1);
    await page.click("#open-learn");
    expect([await page.isVisible("#learn"), await page.isVisible("#studio")]).toEqual([false, true]);
    await page.click("#open-learn");
    await shows(page, "status", /^Paused after step \d+\.$/);
    await page.click("#learn-reset");
    await shows(page, "steps", /^0$/);
    expect(await page.textContent("#learn-start")).toBe("Start");
    expect(await page.locator("#learn-history li").count()).toBe(0);
    expect((await canvasOf(page, "#learn-samples")).every((value) => value === 0)).toBe(true);
  });

  it.runIf(thorough)("is loaded when it is opened, and the studio's model only when the studio is", async () => {
    const at = await staticHost(built.folder); // no other page asks it for files
    const asked = (pattern: RegExp) => at.asked.filter((path) => pattern.test(path));
    const learning = /^assets\/(page-.*\.js|heart-.*\.png)$/;
    const on = await opened("#train", { ...desktop, serviceWorkers: "block" }, { at });
    await on.waitForSelector("#learn-start:enabled");
    expect(await on.locator("#learn-device option").allTextContents()).toEqual(["WASM, 1 thread", "WebGPU"]);
    expect(asked(learning)).toHaveLength(2);
    expect(asked(/^models\//)).toEqual([]);
    await on.click("#open-learn");
    await on.waitForSelector("#draw:enabled");
    expect(asked(/^models\/.*config.*\.json$/)).toHaveLength(1);
    expect(on.url()).not.toMatch(/#train/);
    await on.context().close();
    at.asked.length = 0;
    const other = await opened("#n=1&iterations=1,1&device=wasm", { ...desktop, serviceWorkers: "block" }, { at });
    await other.waitForSelector("#draw:enabled");
    expect(asked(learning)).toEqual([]);
    await other.context().close();
    at.close();
  });

  it.runIf(thorough)("learns the visitor's own pictures, and refuses too few and other files", async () => {
    const picture = async (i: number) => ({
      name: `${i}.png`,
      mimeType: "image/png",
      buffer: await sharp({ create: { width: 30, height: 20, channels: 3, background: { r: 40 * i, g: 9, b: 200 } } })
        .png()
        .toBuffer(),
    });
    const five = await Promise.all([0, 1, 2, 3, 4].map(picture));
    await page.setInputFiles("#learn-own", five.slice(0, 3));
    await page.waitForSelector("#learn-error:not(:empty)");
    expect(await page.textContent("#learn-error")).toBe("Choose between 4 and 2000 pictures, not 3.");
    await page.setInputFiles("#learn-own", [
      ...five,
      { name: "text.png", mimeType: "image/png", buffer: Buffer.from("none") },
    ]);
    await page.waitForFunction(() =>
      document.querySelector("#learn-error")!.textContent!.startsWith("Text.png is not"),
    );
    await page.setInputFiles("#learn-own", five);
    await page.waitForFunction(() => document.querySelector("#learn-count")!.textContent!.startsWith("4 "));
    expect(await page.textContent("#learn-count")).toBe("4 pictures to learn from, 1 only measured.");
    const before = (await bitsOn(page)).length;
    await page.click("#learn-start");
    await trained(page, before + 1);
    await page.click("#learn-reset");
    await page.check("#learn-classes input[value=clock]", { force: true });
    await page.waitForFunction(() => document.querySelector("#learn-count")!.textContent!.startsWith("164 "));
  });

  it.runIf(thorough)("works offline after a visit, on a phone, and breaks no rule of accessibility", async () => {
    const on = await opened("#train", { ...phone, colorScheme: "dark" });
    await on.tap("#learn-start:enabled");
    await trained(on, 1);
    await on.context().setOffline(true);
    await on.reload();
    await on.tap("#learn-start:enabled");
    await trained(on, 1);
    await on.tap("#learn-start");
    await shows(on, "status", /^Paused/);
    expect(await on.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    expect(await violations(on)).toEqual([]);
    await on.context().close();
  });

  describe.skipIf(!softwareWebGpuTests.some)("by software (FRACTALGEN_TEST_WEBGPU=1)", () => {
    it("takes its first step on WebGPU as in Node", { timeout: 3 * patient }, async () => {
      const own = await launch(softwareWebGpu);
      try {
        const on = await opened("#train", desktop, { from: own });
        on.setDefaultTimeout(3 * patient);
        await on.selectOption("#learn-device", "webgpu");
        await on.click("#learn-start:enabled");
        await trained(on, 1); // the held-out pictures, measured before the second one, compile as many shaders again
        expect(await on.textContent("#learn-status")).toBe("Training on WebGPU.");
        expect((await bitsOn(on))[0]).toBeCloseTo((await bitsInNode(1))[0], 3);

        const browserOf = await own.newBrowserCDPSession();
        await browserOf.send("Browser.crashGpuProcess").catch(() => {}); // as a driver's reset does
        await on.waitForSelector("#learn-error:not(:empty)");
        expect(await on.textContent("#learn-error")).toBe(
          "The training stopped in this browser. Start over, or choose the other device.",
        );
      } finally {
        await own.close();
      }
    });
  });
});
