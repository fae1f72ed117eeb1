/**
 * `npm run bench -- studio`: compares the studio in this machine's Chromium with Node on the same processor and images.
 */

import type { Page } from "playwright-core";
import { findModel } from "../src/cli/models.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { externalModel } from "../src/files/external.ts";
import { createSampler } from "../src/sample/sampler.ts";
import { median } from "./engine.ts";
import { drawn, servedName, withStudio } from "./studio-page.ts";

export interface StudioBench {
  model: string;
  images: number;
  iterations: number[];
  rounds: number;
  json?: boolean;
}

export async function benchStudio({ model: asked, images, iterations, rounds, json }: StudioBench): Promise<void> {
  const folder = await findModel(asked);
  const name = encodeURIComponent(servedName(folder));
  const classes = encodeURIComponent(folder.config.classes[0]);
  await withStudio(folder, async ({ url, browser }) => {
    const rows: Record<string, { seconds: number; device: string }> = {};
    for (const wish of ["wasm", "auto"]) {
      const page = await browser.newPage();
      page.setDefaultTimeout(0);
      await page.goto(`${url}/#model=${name}&classes=${classes}&n=${images}&iterations=${iterations}&device=${wish}`);
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
  });
}

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
