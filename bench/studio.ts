/**
 * `npm run bench -- studio`: compares the studio in this machine's Chromium with Node on the same processor and images.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { findModel } from "../src/cli/models.ts";
import { UserError } from "../src/core/errors.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { externalModel } from "../src/files/external.ts";
import { findChromium } from "../src/parity/chromium.ts";
import { createSampler } from "../src/sample/sampler.ts";
import { fractalServer } from "../src/server/app.ts";
import { type Listening, listen } from "../src/server/listen.ts";
import { median } from "./engine.ts";

export interface StudioBench {
  model: string;
  images: number;
  iterations: number[];
  rounds: number;
  json?: boolean;
}

export async function benchStudio({ model: asked, images, iterations, rounds, json }: StudioBench): Promise<void> {
  const executablePath = findChromium();
  if (!executablePath)
    throw new UserError("there is no chromium or google-chrome in PATH; install one (apt-get install chromium)");
  const folder = await findModel(asked);
  const name = folder.config.name ?? "model";
  const models = [{ name, folder, config: folder.config }];
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
    const server = fractalServer({
      models,
      version: "bench",
      threads: 1,
      memory: 4e9,
      studio: built,
      shareWeights: true,
    });
    listening = await listen(server, { host: "127.0.0.1", port: 0 });
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    const { url } = listening;
    const rows: Record<string, { seconds: number; device: string }> = {};
    for (const wish of ["wasm", "auto"]) {
      const page = await browser.newPage();
      page.setDefaultTimeout(0);
      await page.goto(
        `${url}/#model=${encodeURIComponent(name)}&classes=${encodeURIComponent(folder.config.classes[0])}&n=${images}&iterations=${iterations}&device=${wish}`,
      );
      await drawn(page);
      const device = (await page.textContent("#device-name"))!;
      if (wish === "wasm" || device === "WebGPU") rows[device] = { seconds: await timed(page, rounds), device };
      else console.error(await page.textContent("#device-reason"));
      await page.close();
    }
    const threads = Number(/(\d+) thread/.exec(Object.keys(rows)[0])?.[1] ?? 1);
    const node = await inNode({ folder, images, iterations, rounds, threads });
    const found = Object.values(rows).map((row) => ({
      ...row,
      imagesPerSecond: images / row.seconds,
      ratio: row.seconds / node,
    }));
    const result = {
      model: asked,
      images,
      iterations,
      node: { threads, seconds: node, imagesPerSecond: images / node },
      browser: found,
    };
    if (json) return console.log(JSON.stringify(result));
    const line = (device: string, seconds: number, ratio: number) =>
      `  ${device.padEnd(20)} ${seconds.toFixed(2).padStart(7)} s  ${(images / seconds).toFixed(2).padStart(6)} images/s  ${ratio.toFixed(2)} of Node's time`;
    console.log(`${asked}: ${images} images per batch, iterations ${iterations}, median of ${rounds}`);
    console.log(line(`Node, ${threads} thread${threads > 1 ? "s" : ""}`, node, 1));
    for (const { device, seconds, ratio } of found) console.log(line(device, seconds, ratio));
  } finally {
    await browser?.close();
    await listening?.close();
    rmSync(built, { recursive: true, force: true });
  }
}

// Code for the page is a string, because only src/web has the browser's types.
const drawn = (page: Page) =>
  page.waitForFunction(`(() => {
    const complaint = document.querySelector("#error").textContent;
    if (complaint) throw new Error(complaint);
    return document.querySelector("#status").textContent.startsWith("Drew");
  })()`);

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
}: Omit<StudioBench, "model"> & { folder: Awaited<ReturnType<typeof findModel>>; threads: number }): Promise<number> {
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
