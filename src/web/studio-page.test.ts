/** The studio page for its users: states, explanations, phone layout and accessibility, in a real browser. */

import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { firstOf, thorough } from "../test-depth.ts";
import {
  type Built,
  canvasOf,
  ended,
  executablePath,
  type Host,
  launch,
  patient,
  saved,
  shippedStudio,
  staticHost,
  violations,
} from "./test-page.ts";

if (!executablePath) console.warn("The studio's page is not tested: there is no chromium or google-chrome in PATH");

const desktop = { viewport: { width: 1280, height: 800 } };
const phone = {
  viewport: { width: 360, height: 740 },
  isMobile: true,
  hasTouch: true,
  reducedMotion: "reduce" as const,
};
const link = "#classes=heart,face&n=2&seed=3&iterations=2,2&device=wasm";

describe.skipIf(!executablePath)("the studio's page", { timeout: patient }, () => {
  let built: Built;
  let host: Host;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;

  async function opened(fields: string, options: BrowserContextOptions = desktop, prepare?: (page: Page) => unknown) {
    const own = await browser.newContext(options);
    own.setDefaultTimeout(patient);
    const on = await own.newPage();
    on.on("pageerror", (error) => expect.unreachable(`the page threw: ${error.message}`));
    await prepare?.(on);
    await on.goto(`${host.address}${fields}`);
    return on;
  }
  const text = (id: string, on = page) => on.textContent(id);
  beforeAll(async () => {
    built = await shippedStudio();
    host = await staticHost(built.folder);
    browser = await launch();
    page = await opened(link);
    context = page.context();
    await ended(page);
  }, patient);
  afterAll(async () => {
    await browser?.close();
    host?.close();
    built?.remove();
  });

  it("does not display hidden elements, and says that it needs JavaScript", async () => {
    const hidden = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("[hidden]")].map((one) => one.offsetParent === null),
    );
    expect(hidden.length).toBeGreaterThan(0);
    expect(hidden).not.toContain(false);
    const without = await browser.newContext({ ...desktop, javaScriptEnabled: false });
    const on = await without.newPage();
    await on.goto(host.address);
    expect(await on.locator("noscript").textContent()).toMatch(/needs JavaScript/);
    await without.close();
  });

  it.runIf(thorough)("guides a new visitor through the drawing, level by level, once", async () => {
    expect(await page.isVisible("#tour")).toBe(true);
    const filled = async () => (await canvasOf(page, "#pixels")).filter((value, i) => i % 4 === 3 && value > 0).length;
    const titles: string[] = [];
    const shares: number[] = [];
    for (;;) {
      titles.push((await text("#tour-title"))!);
      shares.push(await filled());
      const next = (await text("#tour-next"))!;
      await page.click("#tour-next");
      if (next === "Done") break;
    }
    expect(titles).toHaveLength(6);
    expect(titles[3]).toBe("Inside each, a third one chooses red, green, blue");
    expect(shares[0]).toBe(1024);
    expect(shares[1]).toBeLessThan(1024); // at work on the recording
    expect(await page.isVisible("#tour")).toBe(false);
    expect(await filled()).toBe(1024);
    await page.click("#start-tour");
    expect(await page.evaluate(() => document.activeElement!.id)).toBe("tour-title");
    await page.click("#tour-skip");
    await page.reload();
    await ended(page);
    expect(await page.isVisible("#tour")).toBe(false);
  });

  it("shows the recursion as a tree, from the image to the bytes, with probabilities", async () => {
    await page.hover("#canvas", { position: { x: 200, y: 200 } });
    await page.waitForSelector("#pixel .channel");
    const names = await page.locator("#tree strong").allTextContents();
    expect(names.slice(0, 2)).toEqual(["Image of 32×32", "Patch of 4×4"]);
    expect(names[2]).toMatch(/^Pixel, row \d+, column \d+$/);
    const chances = await page.locator("#tree .chance").allTextContents();
    expect(chances).toHaveLength(3);
    expect(chances[0]).toMatch(/^1 in 2[\d,]+$/);
    expect(await text("#sum")).toMatch(/3 bytes give the pixel [\d.]+, the patch of 4×4 [\d.]+, the image \d+\./);
    // A click in the tree goes there.
    await page
      .locator("#tree .square")
      .first()
      .click({ position: { x: 5, y: 5 } });
    expect(await page.locator("#tree strong").nth(2).textContent()).toBe("Pixel, row 2, column 2");
    // Its probabilities come from the worker.
    await page.waitForFunction(() =>
      /^Row 2, column 2\b.*chance/s.test(document.querySelector("#pixel")!.textContent!),
    );
  });

  it("announces the pixel under the keyboard cursor", async () => {
    await page.focus("#canvas");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() =>
      /^Row \d+, column \d+: Red \d+, chance/.test(document.querySelector("#announced")!.textContent!),
    );
    const before = await text("#announced");
    await page.keyboard.press("Shift+ArrowDown");
    await page.waitForFunction((said) => document.querySelector("#announced")!.textContent !== said, before);
    expect(await page.getAttribute("#announced", "aria-live")).toBe("polite");
  });

  it("saves exactly what is shown, at the current step and in the current view", async () => {
    await page.focus("#scrubber");
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    const compare = async () => {
      const file = await saved(page, "#save-image");
      const rgba = await sharp(file).ensureAlpha().raw().toBuffer();
      expect([...rgba]).toEqual([...(await canvasOf(page, "#pixels"))]);
      return (await sharp(file).metadata()).comments!.find(({ keyword }) => keyword === "Options")!.text;
    };
    expect(await compare()).toMatch(/step=1$/);
    await page.check("input[value=entropy]", { force: true });
    expect(await compare()).toMatch(/step=1&view=uncertainty$/);
    const sheet = async () =>
      sharp(await saved(page, "#save-all"))
        .raw()
        .toBuffer();
    const then = await sheet();
    await page.focus("#scrubber");
    await page.keyboard.press("End");
    expect(await compare()).toMatch(/view=uncertainty$/);
    expect((await sheet()).equals(then)).toBe(false);
    await page.check("input[value=image]", { force: true });
    expect(await compare()).not.toMatch(/step|view/);
  });

  it.runIf(thorough)(
    "shows the ring as part of the redrawn area, stores mask and ring separately in links, and undo restores the form",
    async () => {
      await page.click("[data-mask=centre]");
      expect(await text("#masked")).toBe(
        "256 of 1024 pixels are marked, and the ring adds 320: they will be redrawn as the chosen classes.",
      );
      const withRing = await canvasOf(page, "#overlay");
      await page.uncheck("#ring");
      expect(await text("#masked")).toMatch(/^256 of 1024 pixels are marked: /);
      const without = await canvasOf(page, "#overlay");
      const painted = (data: Buffer) => data.filter((value, i) => i % 4 === 3 && value > 0).length;
      expect(painted(withRing)).toBeGreaterThan(1.8 * painted(without));
      await page.check("#ring");
      const before = await canvasOf(page, "#pixels");
      await page.fill("#count", "1");
      await page.fill("#seed", "99");
      await page.click("#redraw");
      await ended(page);
      const after = await canvasOf(page, "#pixels");
      const changed = [...Array(1024).keys()].filter((i) =>
        [0, 1, 2].some((c) => before[i * 4 + c] !== after[i * 4 + c]),
      );
      const within = (i: number, from: number, to: number) =>
        [i % 32, Math.floor(i / 32)].every((at) => at >= from && at < to);
      expect(changed.every((i) => within(i, 4, 28))).toBe(true);
      expect(changed.some((i) => !within(i, 8, 24))).toBe(true);
      expect(page.url()).toMatch(/&ring=1$/);

      const other = await context.newPage();
      await other.goto(page.url());
      await ended(other);
      expect(await text("#masked", other)).toMatch(/^256 of 1024 pixels are marked, and the ring adds 320/);
      expect(await other.isChecked("#ring")).toBe(true);
      expect(await canvasOf(other, "#pixels")).toEqual(after);
      await other.close();

      await page.click("#undo");
      expect(await canvasOf(page, "#pixels")).toEqual(before);
      expect(await page.inputValue("#count")).toBe("2");
      expect(await page.inputValue("#seed")).toBe("3");
    },
  );

  it.runIf(thorough)(
    "accepts only supported pictures, refuses others whatever their name, and shares accepted ones in links",
    async () => {
      expect(await page.getAttribute("#upload", "accept")).toBe("image/png,image/jpeg,image/webp");
      const picture = sharp({ create: { width: 40, height: 40, channels: 3, background: "#204060" } });
      const gif = await picture.clone().gif().toBuffer();
      await page.setInputFiles("#upload", { name: "a.png", mimeType: "image/png", buffer: gif });
      await page.waitForSelector("#error:not(:empty)");
      expect(await text("#error")).toBe("A.png is not a PNG, JPEG or WebP picture; choose one in these formats.");
      const whole = await picture.clone().png().toBuffer();
      const damaged = whole.subarray(0, 60);
      await page.setInputFiles("#upload", { name: "b.png", mimeType: "image/png", buffer: damaged });
      await page.waitForFunction(() => document.querySelector("#error")!.textContent!.startsWith("B.png is damaged"));
      for (const format of ["png", "jpeg", "webp"] as const) {
        const buffer = await picture.clone().toFormat(format).toBuffer();
        await page.setInputFiles("#upload", { name: `c.${format}`, mimeType: `image/${format}`, buffer });
        await page.waitForFunction(
          (name) => document.querySelector("#status")!.textContent!.startsWith(name),
          `c.${format}`,
        );
        expect(await text("#error")).toBe("");
      }
      const shown = await canvasOf(page, "#pixels");
      const other = await context.newPage();
      await other.goto(page.url());
      await other.waitForFunction(() => /picture is shown/.test(document.querySelector("#status")!.textContent!));
      expect(await canvasOf(other, "#pixels")).toEqual(shown);
      await other.close();
      await page.click("#draw");
      await ended(page);
    },
  );

  it.runIf(thorough)("turns the badge red and explains when the model stops, and can draw again", async () => {
    const on = await opened(link, desktop, (one) =>
      one.addInitScript(() => {
        // A label that no graph can look up: the runtime itself fails.
        const send = Worker.prototype.postMessage as (message: {
          kind?: string;
          request?: { labels: number[] };
        }) => void;
        Worker.prototype.postMessage = function (
          this: Worker,
          message: { kind?: string; request?: { labels: number[] } },
        ) {
          const broken = (window as unknown as { broken?: boolean }).broken;
          if (broken && message.kind === "draw") message.request!.labels = message.request!.labels.map(() => 1e6);
          send.call(this, message);
        } as typeof Worker.prototype.postMessage;
      }),
    );
    await ended(on);
    await on.evaluate(() => ((window as unknown as { broken: boolean }).broken = true));
    await on.click("#draw");
    await on.waitForSelector("#error:not(:empty)");
    const sentence =
      "The model stopped while drawing, most likely because memory ran out. Draw again with fewer images.";
    expect(await text("#error", on)).toBe(sentence);
    expect(await text("#device-name", on)).toBe("Not running");
    expect(await on.locator("#device-details.failed").count()).toBe(1);
    await on.evaluate(() => ((window as unknown as { broken: boolean }).broken = false));
    await on.click("#draw");
    await on.waitForSelector("#error:empty", { state: "attached" });
    expect(await ended(on)).toMatch(/^Drew 2 images/);
    expect(await on.locator("#device-details.ready").count()).toBe(1);
    await on.context().close();
  });

  it.runIf(thorough)(
    "keeps the picture first and in view on a phone, whatever is tapped, and violates no accessibility rule",
    async () => {
      const on = await opened(link, phone);
      await ended(on);
      expect(await on.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
      const top = (id: string) => on.evaluate((id) => document.querySelector(id)!.getBoundingClientRect().top, id);
      const [picture, draw, redraw] = [await top("#canvas"), await top("#settings"), await top("#redraw-section")];
      expect([picture, draw, redraw]).toEqual([picture, draw, redraw].toSorted((a, b) => a - b));
      expect(picture).toBeLessThan(200);
      expect(await violations(on)).toEqual([]);
      await on.tap("#tour-skip");
      for (const [tab, section] of [
        ["Draw", "#settings"],
        ["Redraw", "#redraw-section"],
        ["Explain", "#explain"],
        ["Save", "#keep-section"],
      ]) {
        await on.tap(`#tabs a:text-is("${tab}")`);
        await on.waitForFunction(
          (tab) =>
            [...document.querySelectorAll("#tabs a")].some((a) => a.ariaCurrent === "true" && a.textContent === tab),
          tab,
        );
        const place = await on.evaluate((id) => {
          const canvas = document.querySelector("#canvas")!.getBoundingClientRect();
          const { top } = document.querySelector(id)!.getBoundingClientRect();
          return { whole: canvas.top >= 0 && canvas.bottom < innerHeight - 150, below: top > 100 && top < innerHeight };
        }, section);
        expect(place, tab).toEqual({ whole: true, below: true });
      }
      await on.tap("[data-mask=half]");
      await on.tap("#redraw");
      expect(await ended(on)).toMatch(/^Drew 2 images/);
      const view = await on.evaluate(() => document.querySelector("#canvas")!.getBoundingClientRect().top);
      expect(view).toBeGreaterThanOrEqual(0);
      await on.context().close();
    },
  );

  it.each(firstOf(["dark", "light"] as const))("breaks no rule of accessibility: %s", async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    expect(await violations(page)).toEqual([]);
    await page.evaluate(() => {
      for (const one of document.querySelectorAll("details")) one.open = true;
    });
    await page.click("[data-mask=centre]");
    await page.click("#paint");
    await page.click("#start-tour");
    await page.click("#tour-next");
    expect(await violations(page)).toEqual([]);
    await page.click("#tour-skip");
    await page.click("#paint");
    await page.click("[data-mask=clear]");
  });

  it("supports a whole lecture (drawing, explaining, editing, sharing) without a network", async () => {
    const on = await opened("#classes=flag&n=1&seed=5&iterations=2,2&device=wasm");
    await ended(on);
    await on.click("#tour-skip");
    await on.context().setOffline(true);
    await on.click("#next-seed");
    await ended(on);
    await on.click("#forward", { force: true });
    await on.hover("#canvas", { position: { x: 80, y: 80 } });
    await on.waitForSelector("#pixel .channel");
    await on.click("[data-mask=half]");
    await on.click("#redraw");
    await ended(on);
    const shown = await canvasOf(on, "#pixels");
    await on.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await on.click("#share");
    await on.waitForFunction(() => /link is copied/.test(document.querySelector("#status")!.textContent!));
    const copied = await on.evaluate(() => navigator.clipboard.readText());
    const again = await on.context().newPage();
    await again.goto(copied);
    await ended(again);
    expect(await canvasOf(again, "#pixels")).toEqual(shown);
    await on.context().close();
  });
});
