/** Builds the studio, serves it with one model, and opens this machine's Chromium. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { UserError } from "../src/core/errors.ts";
import type { ModelFolder } from "../src/files/model.ts";
import { findChromium } from "../src/parity/chromium.ts";
import { fractalServer } from "../src/server/app.ts";
import { type Listening, listen } from "../src/server/listen.ts";

/** The name under which `withStudio` serves a model. */
export const servedName = ({ config }: ModelFolder): string => config.name ?? "model";

const noChromium = "there is no chromium or google-chrome in PATH; install one (apt-get install chromium)";

/** Starts this machine's Chromium with further flags. */
export const launchChromium = (args: readonly string[] = []): Promise<Browser> =>
  chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox", ...args] });

/** A graphics processor as WebGPU sees it. */
export interface Adapter {
  name: string;
  /** It is emulated on the CPU. */
  software: boolean;
}

/** The adapter that pages at a URL get; undefined if there is none. */
export async function adapterOf(browser: Browser, url: string): Promise<Adapter | undefined> {
  const page = await browser.newPage();
  await page.goto(url);
  const found = await page.evaluate<Adapter | null>(`(async () => {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return null;
    const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
    const software = isFallbackAdapter ?? adapter.isFallbackAdapter ?? architecture === "swiftshader";
    return { name: description || [vendor, architecture].filter(Boolean).join(" ") || "unnamed", software };
  })()`);
  await page.close();
  return found ?? undefined;
}

/** Calls `work` with the studio's address and a browser, then closes both. Throws a UserError without Chromium. */
export async function withStudio(
  folder: ModelFolder,
  work: (studio: { url: string; browser: Browser }) => Promise<void>,
): Promise<void> {
  if (!findChromium()) throw new UserError(noChromium);
  const models = [{ name: servedName(folder), folder, config: folder.config }];
  const built = mkdtempSync(join(tmpdir(), "fractalgen-bench-studio-"));
  const root = fileURLToPath(new URL("../", import.meta.url));
  const vite = join(root, "node_modules/vite/bin/vite.js");
  const env = { ...process.env, NODE_ENV: "production" };
  let listening: Listening | undefined;
  let browser: Browser | undefined;
  try {
    execFileSync(process.execPath, [vite, "build", "--outDir", built, "--emptyOutDir"], {
      cwd: root,
      env,
      stdio: "pipe",
    });
    const options = { version: "bench", threads: 1, memory: 4e9, studio: built, shareWeights: true };
    listening = await listen(fractalServer({ models, ...options }), { host: "127.0.0.1", port: 0 });
    browser = await launchChromium();
    await work({ url: listening.url, browser });
  } finally {
    await browser?.close();
    await listening?.close();
    rmSync(built, { recursive: true, force: true });
  }
}

/** Waits until the page has drawn its images. Code for the page is a string: only src/web has the browser's types. */
export const drawn = (page: Page) =>
  page.waitForFunction(`(() => {
    const complaint = document.querySelector("#error").textContent;
    if (complaint) throw new Error(complaint);
    return document.querySelector("#status").textContent.startsWith("Drew");
  })()`);
