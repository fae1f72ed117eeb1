/** The built studio, served from a folder by a plain file server, in a real browser. */

import { join } from "node:path";
import { type Browser, type BrowserContext, type Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder } from "../files/model.ts";
import { softwareWebGpu } from "../parity/chromium.ts";
import { edit } from "../sample/edit.ts";
import { rectangleMask } from "../sample/masks.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import { drawnBy, listening } from "../server/test-client.ts";
import { testModels, testServer } from "../server/test-models.ts";
import { thorough, softwareWebGpuTests } from "../test-depth.ts";
import { defaultSettings, writeAddress } from "./address.ts";
import {
  type Built,
  different,
  ended,
  executablePath,
  type Host,
  last,
  launch,
  patient,
  pixelsOf,
  root,
  saved,
  shippedStudio,
  staticHost,
} from "./test-page.ts";

if (!executablePath) console.warn("The studio is not tested: there is no chromium or google-chrome in PATH");

let built: Built;
let host: Host;
let address = "";
let browser: Browser;
let context: BrowserContext;
let page: Page;
let sampler: Sampler;

const small = "iterations=2,2";
const open = (on: Page, fields: string) => on.goto(`${address}#${fields}`);

describe.skipIf(!executablePath)("the studio", { timeout: patient }, () => {
  beforeAll(async () => {
    built = await shippedStudio();
    host = await staticHost(built.folder);
    ({ address } = host);
    sampler = createSampler(await nodeEngine(), externalModel(readModelFolder(join(root, "models/emoji"))));
    browser = await launch();
    context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    context.setDefaultTimeout(patient);
    page = await context.newPage();
    page.on("pageerror", (error) => expect.unreachable(`the page threw: ${error.message}`));
  }, patient);
  afterAll(async () => {
    await browser?.close();
    await sampler?.dispose();
    host?.close();
    built?.remove();
  });

  it("is smaller than 1 MB after gzip without the runtime and the weights, as the build reports", () => {
    expect(built.output).toMatch(/\b\d{2,3} kB after gzip without runtime and weights, of 1000 allowed/);
  });

  it("draws on WASM the same images as the command line, from any folder, with threads even if the host sends no headers", async () => {
    await open(page, `classes=heart,clock&n=2&seed=3&${small}&device=wasm`);
    expect(await ended(page)).toMatch(/^Drew 2 images in .*, 34 steps\.$/);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    expect(await page.textContent("#device-name")).toMatch(/^WASM, \d thread/);
    const labels = ["heart", "clock"].map((name) => sampler.config.classes.indexOf(name));
    const expected = await last(sampler.sample({ labels, seed: 3, iterations: [2, 2] }));
    expect(different(await pixelsOf(await saved(page, "#save-image")), expected.subarray(0, 3072))).toBe(0);
    await page.check("#gallery input[value='1']");
    const file = await saved(page, "#save-image");
    expect(different(await pixelsOf(file), expected.subarray(3072))).toBe(0);
    expect((await sharp(file).metadata()).comments).toContainEqual({ keyword: "Seed", text: "3" });
    expect(page.url()).toMatch(/#classes=heart,clock&n=2&seed=3&iterations=2,2&device=wasm&image=2$/);
  });

  const stage = (canvas: string) =>
    page.evaluate((id) => {
      const { width, height } = document.querySelector<HTMLCanvasElement>(id)!;
      const { data } = document
        .querySelector<HTMLCanvasElement>(id)!
        .getContext("2d")!
        .getImageData(0, 0, width, height);
      return {
        filled: data.filter((value, i) => i % 4 === 3 && value > 0).length,
        sum: data.reduce((a, b) => a + b, 0),
      };
    }, canvas);

  it.runIf(thorough)("steps back through the recursion, with the patches in progress outlined", async () => {
    const whole = await stage("#pixels");
    expect(whole.filled).toBe(1024);
    expect((await stage("#overlay")).filled).toBe(0);
    await page.focus("#scrubber");
    await page.keyboard.press("Home");
    expect(await page.textContent("#place")).toBe("Before the first step.");
    expect((await stage("#pixels")).filled).toBe(0);
    await page.keyboard.press("ArrowRight");
    const words = "Level 1: step 1 of 2, 19 patches of 4×4. Level 2: step 1 of 16, 19 pixels.";
    expect(await page.textContent("#place")).toBe(words);
    expect(await page.getAttribute("#scrubber", "aria-valuetext")).toBe(`1 of 34. ${words}`);
    expect((await stage("#pixels")).filled).toBe(19);
    expect((await stage("#overlay")).filled).toBeGreaterThan(1000);
    expect(page.url()).toMatch(/&step=1$/);
    await page.click("#forward");
    expect((await stage("#pixels")).filled).toBe(2 * 19);
    await page.click("#play");
    await page.waitForFunction(() => document.querySelector<HTMLInputElement>("#scrubber")!.value === "34");
    expect(await stage("#pixels")).toEqual(whole);
  });

  it("shows the distribution of the pixel under the pointer, and the uncertainty of all pixels as a picture", async () => {
    await page.hover("#canvas", { position: { x: 100, y: 100 } });
    await page.waitForSelector("#pixel .channel");
    const words = await page.locator("#pixel .channel span").allTextContents();
    expect(words.map((text) => text.split(" ")[0])).toEqual(["Red", "Green", "Blue"]);
    for (const text of words) expect(text).toMatch(/^\w+ \d+: chance [\w .]+%, \d\.\d bits of uncertainty$/);
    const before = await stage("#pixels");
    await page.check("input[value=entropy]", { force: true });
    expect((await stage("#pixels")).sum).not.toBe(before.sum);
    await page.check("input[value=image]", { force: true });
  });

  it.runIf(thorough)(
    "redraws the painted pixels, keeps the rest to the byte, and makes a link that draws the same",
    async () => {
      const original = await pixelsOf(await saved(page, "#save-image"));
      await page.click("#paint");
      await page.hover("#canvas"); // waits until the page has scrolled
      const box = (await page.locator("#canvas").boundingBox())!;
      const at = (x: number, y: number) =>
        [box.x + ((x + 0.5) / 32) * box.width, box.y + ((y + 0.5) / 32) * box.height] as const;
      await page.mouse.move(...at(9, 9));
      await page.mouse.down();
      await page.mouse.move(...at(18, 9), { steps: 12 });
      await page.mouse.up();
      expect(await page.textContent("#masked")).toMatch(/^\d+ of 1024 pixels are marked/);
      await page.click("#paint");
      const hatched = await stage("#overlay");
      await page.uncheck("#ring");
      await page.fill("#count", "1");
      await page.click("#redraw");
      expect(await ended(page)).toMatch(/^Drew 1 image/);
      const outlined = await stage("#overlay");
      expect(outlined.filled).toBeLessThan(hatched.filled / 2); // so that the drawn pixels are visible
      expect(outlined.filled).toBeGreaterThan(100);
      const redrawn = await pixelsOf(await saved(page, "#save-image"));
      const mask = Uint8Array.from({ length: 1024 }, (_, i) => {
        const [x, y] = [i % 32, Math.floor(i / 32)];
        return Number(x >= 8 && x <= 20 && y >= 8 && y <= 11);
      });
      const changed = [...redrawn].flatMap((value, i) => (value === original[i] ? [] : [Math.floor(i / 3)]));
      expect(changed.length).toBeGreaterThan(20);
      expect(changed.filter((pixel) => !mask[pixel])).toEqual([]);
      const labels = [sampler.config.classes.indexOf("heart")];
      const options = { labels, seed: 3, iterations: [2, 2] };
      expect(different(redrawn, await last(edit(sampler, original, mask, options)))).toBe(0);

      const other = await context.newPage();
      await other.goto(page.url());
      await ended(other);
      expect(await other.textContent("#masked")).toBe(await page.textContent("#masked"));
      expect(different(await pixelsOf(await saved(other, "#save-image")), redrawn)).toBe(0);
      await other.close();
      await page.click("#undo");
      expect(different(await pixelsOf(await saved(page, "#save-image")), original)).toBe(0);
    },
  );

  it("opens the user's own picture, and explains if the file is not one", async () => {
    const picture = await sharp({ create: { width: 90, height: 60, channels: 3, background: "#2060a0" } })
      .png()
      .toBuffer();
    await page.setInputFiles("#upload", { name: "blue.png", mimeType: "image/png", buffer: picture });
    await page.waitForFunction(() => document.querySelector("#status")!.textContent!.startsWith("blue.png is shown"));
    const kept = await pixelsOf(await saved(page, "#save-image"));
    expect([...kept.subarray(0, 3)]).toEqual([0x20, 0x60, 0xa0]);
    await page.setInputFiles("#upload", { name: "no.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await page.waitForFunction(() => document.querySelector("#error")!.textContent !== "");
    const sentence = "No.png is not a PNG, JPEG or WebP picture; choose one in these formats.";
    expect(await page.textContent("#error")).toBe(sentence);
  });

  it.runIf(thorough)(
    "can be used with only the keyboard: every control has a name and can be reached and left in order",
    async () => {
      await page.focus("#skip");
      const reached: string[] = [];
      for (let i = 0; i < 80; i++) {
        if (i > 0) await page.keyboard.press("Tab");
        const found = await page.evaluate(() => {
          const element = document.activeElement as HTMLInputElement;
          const labels = [...(element.labels ?? [])].map(({ textContent }) => textContent);
          const name = element.ariaLabel ?? (labels.length > 0 ? labels.join(" ") : element.textContent);
          const shown = element.matches(".chips input, .switch input, .gallery input")
            ? element.nextElementSibling!
            : element;
          const { outlineStyle, outlineWidth } = getComputedStyle(shown);
          return {
            id: element.id || element.value || element.tagName,
            name: name?.trim() ?? "",
            outlined: outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2,
          };
        });
        if (found.id === "BODY" || (i > 0 && found.id === reached[0])) break;
        expect(found.name, found.id).not.toBe("");
        // The first control was not reached by keyboard.
        if (i > 0) expect(found.outlined, `${found.id} shows that it has the focus`).toBe(true);
        reached.push(found.id);
      }
      const order = [
        "skip",
        "count",
        "seed",
        "draw",
        "paint",
        "upload",
        "canvas",
        "play",
        "scrubber",
        "save-image",
        "share",
      ];
      const places = order.filter((id) => id !== "play" && id !== "scrubber").map((id) => reached.indexOf(id));
      expect(places, reached.join(" ")).toEqual([...places].sort((a, b) => a - b));
      expect(places).not.toContain(-1);

      await page.focus("#paint");
      await page.keyboard.press("Enter");
      await page.selectOption("#brush", "1");
      await page.focus("#canvas");
      await page.keyboard.press("ArrowLeft");
      await page.keyboard.press(" ");
      await page.keyboard.press("Shift+ArrowDown");
      await page.keyboard.press(" ");
      expect(await page.textContent("#masked")).toMatch(/^2 of 1024 pixels/);
      expect(await page.textContent("#pixel")).toMatch(/^Row 21, column 16/);
      await page.keyboard.press("Escape");
      expect(await page.getAttribute("#paint", "aria-pressed")).toBe("false");
      await page.focus("#redraw");
      await page.keyboard.press("Enter");
      expect(await ended(page)).toMatch(/^Drew 2 images/);
    },
  );

  it("can be cancelled, and stays responsive while drawing", async () => {
    await page.fill("#count", "8");
    await page.evaluate(() => {
      for (const field of document.querySelectorAll<HTMLInputElement>("#iterations input")) field.value = field.max;
    });
    await page.focus("#draw");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => Number(document.querySelector<HTMLInputElement>("#scrubber")!.max) > 3);
    await page.keyboard.press("Escape");
    expect(await ended(page)).toMatch(/^Cancelled after \d+ steps\.$/);
  });

  it.each([
    ["a phone", 360, 740],
    ["a tablet", 768, 1024],
  ])("fits the width of %s", async (_, width, height) => {
    await page.setViewportSize({ width, height });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, .chips label > span, summary, select, input[type=number]")]
        .filter((element) => element.offsetParent && element.getBoundingClientRect().height < 24)
        .map((element) => element.textContent),
    );
    expect(small).toEqual([]); // minimum target size of WCAG 2.2
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it("saves an animation", async () => {
    const file = await saved(page, "#save-animation");
    expect(file.includes("acTL")).toBe(true);
    expect((await sharp(file).metadata()).width).toBeGreaterThan(200);
  });

  it.runIf(thorough)("works offline after the first visit, and explains what is wrong with a link", async () => {
    await context.setOffline(true);
    await open(page, "classes=plant&n=1&iterations=1,1&device=wasm"); // the page reloads automatically for another address
    await page.waitForFunction(() => document.querySelector("#status")!.textContent!.startsWith("Drew 1 image"));
    await open(page, "classes=haert&device=wasm");
    await page.waitForFunction(() => document.querySelector("#error")!.textContent !== "");
    const sentence = `The link's classes: the model has no class "haert"; did you mean "heart"?`;
    expect(await page.textContent("#error")).toBe(sentence);
    await context.setOffline(false);
  });

  it.runIf(thorough)("opens its server's models, including one with grey images", async () => {
    const models = await testModels();
    const at = await listening(testServer([models.tiny, models.grey], { studio: built.folder, shareWeights: true }));
    const own = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    own.setDefaultTimeout(patient);
    try {
      const on = await own.newPage();
      await on.goto(`${at.url}/`);
      await ended(on);
      expect(on.url()).toMatch(/#model=tiny&classes=cat&n=4&seed=1$/);
      await on.goto(`${at.url}/#model=tiny&n=1&seed=5&device=wasm`);
      await ended(on);
      expect(await on.title()).toBe("tiny · fractalgen studio");
      const drawn = await drawnBy(models.tiny, { labels: [0], seed: 5 });
      expect(different(await pixelsOf(await saved(on, "#save-image")), drawn)).toBe(0);

      await on.selectOption("#model", "grey");
      await on.click("#open-model");
      await on.waitForFunction(() => document.title.startsWith("grey"));
      await ended(on);
      expect(on.url()).toMatch(/#model=grey&classes=cat&n=1&seed=5&device=wasm$/);
      const grey = await drawnBy(models.grey, { labels: [0], seed: 5 });
      const rgb = Uint8Array.from({ length: 3 * grey.length }, (_, i) => grey[Math.floor(i / 3)]);
      expect(different(await pixelsOf(await saved(on, "#save-image")), rgb)).toBe(0);

      await on.click("#draw"); // from the form, whose sliders keep the model's own settings
      await ended(on);
      expect(different(await pixelsOf(await saved(on, "#save-image")), rgb)).toBe(0);

      await own.setOffline(true); // models that were used are cached
      await on.reload();
      await ended(on);
      expect(different(await pixelsOf(await saved(on, "#save-image")), rgb)).toBe(0);
      await own.setOffline(false);

      await on.goto(`${at.url}/#model=gray&device=wasm`);
      await on.waitForFunction(() => document.querySelector("#error")!.textContent !== "");
      const sentence =
        'The link names the model "gray", but this page has only tiny, grey, emoji, digits, emoji-ar, fashion; did you mean "grey"?';
      expect(await on.textContent("#error")).toBe(sentence);
    } finally {
      await own.close();
      await at.close();
      models.remove();
    }
  });

  // Without a graphics processor, compiling the shaders already takes minutes.
  describe.skipIf(!softwareWebGpuTests.some)("by software (FRACTALGEN_TEST_WEBGPU=1)", () => {
    it(
      "checks WebGPU against WASM at the start and then draws on it as on WASM, in float32 if it has no float16",
      { timeout: 3 * patient },
      async () => {
        const own = await launch(softwareWebGpu);
        try {
          const on = await own.newPage();
          on.setDefaultTimeout(3 * patient);
          // Software rendering is slow, so open a link that redraws only four patches of a grey picture.
          const { config } = sampler;
          const [image, mask] = [new Uint8Array(3072).fill(90), rectangleMask(32, { x: 8, y: 8, width: 8, height: 8 })];
          const labels = [config.classes.indexOf("heart")];
          const wishes = { classes: labels, count: 1, seed: 3, iterations: [1, 1], edit: { image, mask } };
          await open(on, writeAddress({ ...defaultSettings(config), ...wishes, device: "webgpu-float16" }, config));
          await ended(on);
          // SwiftShader has no float16.
          expect(await on.textContent("#device-reason")).toMatch(
            /WebGPU was checked against WASM: \d+ of \d+ bytes equal.*\. It has no float16, so float32 is used\.$/,
          );
          expect(await on.textContent("#device-name")).toBe("WebGPU");
          const expected = await last(edit(sampler, image, mask, { labels, seed: 3, iterations: [1, 1] }));
          const found = different(await pixelsOf(await saved(on, "#save-image")), expected);
          console.log(
            `WebGPU by software: ${192 - found} of 192 bytes as on the CPU; ${await on.textContent("#device-reason")}`,
          );
          expect(found / 192).toBeLessThan(0.1);

          // A driver that crashes or is reset takes the device with it.
          const browserOf = await own.newBrowserCDPSession();
          await on.click("#draw");
          await on.waitForSelector("#draw[aria-disabled=true]");
          await browserOf.send("Browser.crashGpuProcess").catch(() => {});
          await on.waitForSelector("#error:not(:empty)");
          expect(await on.textContent("#error")).toBe(
            "The graphics processor stopped while drawing. Draw again to continue with WASM.",
          );
          expect(await on.locator("#device-details.failed").count()).toBe(1);
          await on.click("#draw");
          await on.waitForSelector("#error:empty", { state: "attached" });
          expect(await ended(on)).toMatch(/^Drew 1 image/);
          expect(await on.textContent("#device-name")).toMatch(/^WASM/);
        } finally {
          await own.close();
        }
      },
    );
  });
});
