/** The studio under real hosting conditions (caches, new builds, slow connections, full storage), in a real browser. */

import { appendFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TestModels, testModels } from "../server/test-models.ts";
import { thorough } from "../test-depth.ts";
import {
  type Built,
  buildStudio,
  canvasOf,
  ended,
  executablePath,
  type Host,
  launch,
  patient,
  shippedStudio,
  staticHost,
} from "./test-page.ts";

if (!executablePath) console.warn("Hosting is not tested: there is no chromium or google-chrome in PATH");

describe.skipIf(!executablePath)("the studio on a static host", { timeout: patient }, () => {
  let browser: Browser;
  let models: TestModels;
  let first: Built;
  let second: Built;
  const emoji = mkdtempSync(join(tmpdir(), "fractalgen-other-"));

  beforeAll(async () => {
    models = await testModels();
    // Another model under the same name, as after further training.
    cpSync(models.tiny.folder.folder, join(emoji, "emoji"), { recursive: true });
    first = await shippedStudio();
    second = await buildStudio(join(emoji, "emoji"));
    browser = await launch();
  }, patient);
  afterAll(async () => {
    await browser?.close();
    first?.remove();
    second?.remove();
    models?.remove();
    rmSync(emoji, { recursive: true, force: true });
  });

  const open = async (context: BrowserContext): Promise<{ page: Page; thrown: string[] }> => {
    context.setDefaultTimeout(patient);
    const page = await context.newPage();
    const thrown: string[] = [];
    page.on("pageerror", ({ message }) => thrown.push(message));
    return { page, thrown };
  };
  const classes = (page: Page) => page.locator("#classes label").allTextContents();
  const keptFiles = (page: Page) =>
    page.evaluate(async () => {
      const all = (await caches.keys()).map(async (name) => (await caches.open(name)).keys());
      return (await Promise.all(all)).flat().map(({ url }) => url);
    });
  /** Waits until the newest page in the cache is the one in a folder. */
  const cached = async (page: Page, folder: string) => {
    const found = () => page.evaluate(async (key) => (await caches.match(key))?.text(), key(page));
    await expect.poll(found, { timeout: patient }).toBe(readFileSync(join(folder, "index.html"), "utf8"));
  };
  /** Draws with the host's build, which the second one then replaces, and visits the page again. */
  const returns = async (page: Page, host: Host) => {
    await page.goto(`${host.address}#classes=heart&n=1&iterations=1,1`);
    await ended(page);
    host.folder = second.folder;
    await page.goto("about:blank");
    await page.goto(`${host.address}#n=1`);
  };
  const key = (page: Page) => new URL("?page=newest", page.url()).href;
  /** A copy of a build, with text appended to one of its files. */
  const changed = ({ folder }: Built, file: string) => {
    const copy = mkdtempSync(join(emoji, "build-"));
    cpSync(folder, copy, { recursive: true });
    appendFileSync(join(copy, file), file.endsWith(".js") ? "// another" : "<!-- another -->");
    return copy;
  };

  it("names the model's files after their content", () => {
    const [one, two] = [first, second].map(({ folder }) => readdirSync(join(folder, "models/emoji")).sort());
    for (const names of [one, two])
      expect(names).toEqual([
        expect.stringMatching(/^config-[0-9a-f]{12}\.json$/),
        expect.stringMatching(/^model-[0-9a-f]{12}\.safetensors$/),
      ]);
    expect(two.filter((name) => one.includes(name))).toEqual([]);
  });

  it.runIf(thorough).each(["max-age=600", "max-age=31536000, immutable"])(
    "shows returning visitors the complete new build if files are cached with %s",
    { timeout: 2 * patient }, // five drawings
    async (cacheControl) => {
      const host = await staticHost(first.folder, () => ({ "cache-control": cacheControl }));
      const context = await browser.newContext();
      try {
        const { page, thrown } = await open(context);
        await page.goto(`${host.address}#classes=heart&n=1&iterations=2,2`);
        await ended(page);
        expect(await classes(page)).toContain("heart");
        await cached(page, first.folder);
        // No file of the first build is left. The last build has the second one's files and another page.
        const last = changed(second, "index.html");
        for (const folder of [second.folder, second.folder, last]) {
          host.folder = folder;
          await page.goto("about:blank");
          await page.goto(`${host.address}#n=1`);
          expect(await ended(page)).toMatch(/^Drew 1 image/);
          expect(await classes(page)).toEqual(["cat", "dog"]);
          expect(thrown).toEqual([]);
          await cached(page, folder);
        }
        const old = readdirSync(join(first.folder, "models/emoji"));
        const left = async () => (await keptFiles(page)).filter((url) => old.includes(basename(url)));
        await expect.poll(left, { timeout: patient }).toEqual([]);
        const kept = (await keptFiles(page)).join(" ");
        for (const name of readdirSync(join(second.folder, "models/emoji"))) expect(kept).toContain(name);
        await context.setOffline(true);
        await page.goto("about:blank");
        await page.goto(`${host.address}#n=1`);
        expect(await ended(page)).toMatch(/^Drew 1 image/);
        expect(await classes(page)).toEqual(["cat", "dog"]);
      } finally {
        await context.close();
        host.close();
      }
    },
  );

  it.runIf(thorough)("keeps two studios in folders of one host apart when one of them gets a new build", async () => {
    const both = mkdtempSync(join(emoji, "both-"));
    cpSync(first.folder, join(both, "a"), { recursive: true });
    cpSync(second.folder, join(both, "b"), { recursive: true });
    const host = await staticHost(both);
    const context = await browser.newContext();
    try {
      const { page, thrown } = await open(context);
      const visit = async (name: string, fields = "#n=1&iterations=1,1") => {
        await page.goto("about:blank");
        await page.goto(`${host.address}${name}/${fields}`);
        expect(await ended(page)).toMatch(/^Drew 1 image/);
        return classes(page);
      };
      expect(await visit("a", "#classes=heart&n=1&iterations=1,1")).toContain("heart");
      await cached(page, join(both, "a"));
      expect(await visit("b")).toEqual(["cat", "dog"]);
      await cached(page, join(both, "b"));
      const keptB = async () => (await keptFiles(page)).filter((url) => url.startsWith(`${host.address}b/`)).sort();
      const before = await keptB();
      // The new build of one has the other's model.
      rmSync(join(both, "a"), { recursive: true });
      cpSync(changed(second, "index.html"), join(both, "a"), { recursive: true });
      expect(await visit("a")).toEqual(["cat", "dog"]);
      await cached(page, join(both, "a"));
      expect(await keptB()).toEqual(before);
      await context.setOffline(true);
      for (const name of ["b", "a"]) expect(await visit(name)).toEqual(["cat", "dog"]);
      expect(thrown).toEqual([]);
    } finally {
      await context.close();
      host.close();
    }
  });

  // While Chromium replaces a service worker, it can stop the old one during a request, which then hangs.
  it.runIf(thorough)("does not replace the service worker by a new build", async () => {
    const host = await staticHost(first.folder);
    const context = await browser.newContext();
    try {
      const { page } = await open(context);
      await returns(page, host);
      await ended(page);
      const found = await page.evaluate(async () => {
        const registration = (await navigator.serviceWorker.getRegistration())!;
        await registration.update();
        return { installing: registration.installing, waiting: registration.waiting };
      });
      expect(found).toEqual({ installing: null, waiting: null });
    } finally {
      await context.close();
      host.close();
    }
  });

  it.runIf(thorough)("answers an open page's requests while a changed service worker is installed", async () => {
    const host = await staticHost(first.folder);
    const context = await browser.newContext();
    try {
      const { page } = await open(context);
      await page.goto(`${host.address}#classes=heart&n=1&iterations=1,1`);
      await ended(page);
      host.folder = changed(second, "service-worker.js");
      let release = () => {};
      const released = new Promise<void>((resolve) => (release = resolve));
      let pages = 0;
      host.before = (path) => path === "" && ++pages === 2 && released; // the service worker's, after the page's own
      await page.goto("about:blank");
      await page.goto(`${host.address}#n=1`);
      await ended(page);
      await page.evaluate(async () => void (await navigator.serviceWorker.getRegistration())!.update());
      await expect.poll(() => pages, { timeout: patient }).toBe(2);
      // Programs are loaded over and over, as the page loads the model's.
      await page.evaluate(() => {
        const program = performance.getEntriesByType("resource").find(({ name }) => /worker-[^/]*js$/.test(name))!.name;
        const load = () =>
          new Promise<string>((resolve) => {
            const worker = new Worker(program, { type: "module" });
            const end = (what: string) => {
              worker.terminate();
              resolve(what);
            };
            worker.addEventListener("message", () => end("answered"));
            worker.addEventListener("error", () => end("failed"));
            worker.postMessage({ kind: "open", model: {} });
            setTimeout(() => end("not answered"), 20_000);
          });
        const state = { answers: [] as string[], going: true, changes: 0, done: undefined as unknown };
        navigator.serviceWorker.addEventListener("controllerchange", () => state.changes++);
        const loop = async () => {
          while (state.going) state.answers.push(await load());
        };
        state.done = Promise.all([loop(), loop(), loop()]);
        Object.assign(window, { state });
      });
      release();
      const found = await page.evaluate(async () => {
        const { state } = window as unknown as {
          state: { answers: string[]; going: boolean; changes: number; done: Promise<unknown> };
        };
        const registration = (await navigator.serviceWorker.getRegistration())!;
        while (registration.installing) await new Promise((resolve) => setTimeout(resolve, 20));
        await new Promise((resolve) => setTimeout(resolve, 3000));
        state.going = false;
        await state.done;
        return { answers: [...new Set(state.answers)], changes: state.changes, waiting: registration.waiting !== null };
      });
      expect(found).toEqual({ answers: ["answered"], changes: 0, waiting: true });
    } finally {
      await context.close();
      host.close();
    }
  });

  it.runIf(thorough)("does not wait for a service worker that a reload bypassed", async () => {
    const host = await staticHost(first.folder);
    const context = await browser.newContext();
    try {
      const { page } = await open(context);
      await page.goto(`${host.address}#classes=heart&n=1&iterations=1,1`);
      expect(await ended(page)).toMatch(/^Drew 1 image/);
      // A page that waits until its patience ends would wait forever.
      await page.addInitScript(() => {
        const wait = window.setTimeout.bind(window);
        Object.assign(window, { setTimeout: (run: () => void, ms = 0) => (ms === 15_000 ? 0 : wait(run, ms)) });
      });
      const session = await context.newCDPSession(page);
      const loaded = page.waitForEvent("load");
      await session.send("Page.reload", { ignoreCache: true });
      await loaded;
      expect(await ended(page)).toMatch(/^Drew 1 image/);
      expect(await page.evaluate(() => navigator.serviceWorker.controller)).toBeNull();
    } finally {
      await context.close();
      host.close();
    }
  });

  const lost: [string, RegExp][] = [
    ["its model", /\/$|\/studio-[^/]*\.js$/],
    ["its script", /\/$/],
  ];
  it.runIf(thorough).each(lost)(
    "replaces a page from a cache that has lost %s, without a service worker",
    async (_, cached) => {
      const host = await staticHost(first.folder, (path) => ({
        "cache-control": cached.test(path) ? "max-age=600" : "no-store",
      }));
      const context = await browser.newContext({ serviceWorkers: "block" });
      try {
        const { page } = await open(context);
        await returns(page, host);
        await page.waitForFunction(() => document.querySelectorAll("#classes label").length === 2);
        expect(await ended(page)).toMatch(/^Drew 1 image/);
      } finally {
        await context.close();
        host.close();
      }
    },
  );

  it.runIf(thorough).each([1e5, 5e6, 20e6])("draws with only %i bytes of storage left", async (quotaSize) => {
    const host = await staticHost(first.folder);
    const context = await browser.newContext();
    try {
      const { page, thrown } = await open(context);
      const session = await context.newCDPSession(page);
      await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(host.address).origin, quotaSize });
      await page.goto(`${host.address}#classes=heart&n=1&iterations=2,2`);
      expect(await ended(page)).toMatch(/^Drew 1 image/);
      expect(thrown).toEqual([]);
    } finally {
      await context.close();
      host.close();
    }
  });

  it.runIf(thorough).each(["allow", "block"] as const)(
    "shows the progress of downloads, with service workers: %s",
    async (serviceWorkers) => {
      const host = await staticHost(first.folder);
      const context = await browser.newContext({ serviceWorkers });
      try {
        const { page } = await open(context);
        await page.addInitScript(() => {
          const seen: number[] = ((window as unknown as { seen: number[] }).seen = []);
          setInterval(() => {
            const text = document.querySelector("#status")?.textContent ?? "";
            const share = /Fetching the model \((\d+)%\)/.exec(text)?.[1];
            if (share && seen.at(-1) !== Number(share)) seen.push(Number(share));
          }, 20);
        });
        host.rate = 8e6;
        await page.goto(`${host.address}#classes=heart&n=1&iterations=1,1`);
        await ended(page);
        const seen = await page.evaluate(() => (window as unknown as { seen: number[] }).seen);
        expect(seen.length, seen.join(" ")).toBeGreaterThan(5);
        expect(seen).toEqual([...seen].sort((a, b) => a - b));
      } finally {
        await context.close();
        host.close();
      }
    },
  );

  it("reports in one sentence what could not be fetched, with a red badge", async () => {
    const host = await staticHost(first.folder);
    const context = await browser.newContext({ serviceWorkers: "block" });
    try {
      const { page } = await open(context);
      await page.route(/safetensors/, (route) => route.fulfill({ status: 503 }));
      await page.goto(`${host.address}#n=1`);
      await page.waitForSelector("#error:not(:empty)");
      const sentence = "The model's weights could not be fetched: the server answered 503; reload the page.";
      expect(await page.textContent("#error")).toBe(sentence);
      expect(await page.textContent("#device-name")).toBe("Not running");
      expect((await canvasOf(page, "#pixels")).every((value) => value === 0)).toBe(true);
      expect(await page.locator("#device-details.failed").count()).toBe(1);
    } finally {
      await context.close();
      host.close();
    }
  });
});
