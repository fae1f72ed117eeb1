/** `npm run bench -- sample`: images per second, and how far from a plain product's rate each part is. */

import { findModel } from "../src/cli/models.ts";
import { placedLevels } from "../src/config/model.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { externalModel } from "../src/files/external.ts";
import { createSampler } from "../src/sample/sampler.ts";
import { type Measured, measuring, median, plainProduct } from "./engine.ts";

export interface SampleBench {
  model: string;
  batch: number;
  guidance?: number;
  iterations?: number[];
  rounds: number;
  json?: boolean;
}

export async function benchSample({
  model: name,
  batch,
  guidance,
  iterations,
  rounds,
  json,
}: SampleBench): Promise<void> {
  const engine = await nodeEngine();
  const product = await plainProduct(engine);
  const counted = measuring(engine);
  const parts = new Map<string, Measured>();
  const model = externalModel(await findModel(name));
  const levels = placedLevels(model.config);
  const sampler = createSampler(counted, model);
  const labels = Array.from({ length: batch }, (_, i) => i % model.config.classes.length);
  const settings = { labels, batch, guidance: guidance ?? model.config.sampling.guidance, iterations };

  const seconds: number[] = [];
  const rates: number[] = [];
  let session = 0;
  const once = async (seed: number) => {
    const started = performance.now();
    const frames = sampler.sample({ ...settings, seed });
    while (!(await frames.next()).done);
    return (performance.now() - started) / 1000;
  };
  await once(0); // builds the sessions
  counted.reset();
  for (let round = 0; round < rounds; round++) {
    rates.push(await product());
    seconds.push(await once(round + 1));
  }
  const names = sessionNames(levels.map(({ kind }) => kind));
  for (const measured of counted.measured) parts.set(names[session++] ?? `session ${session}`, measured);
  await sampler.dispose();

  const time = median(seconds);
  const operations = [...parts.values()].reduce((sum, part) => sum + part.operations, 0) / rounds;
  const plain = median(rates);
  const result = {
    model: name,
    batch,
    guidance: settings.guidance,
    iterations: iterations ?? model.config.sampling.iterations ?? levels.map(({ tokens }) => tokens),
    seconds: time,
    imagesPerSecond: batch / time,
    gigaflopPerImage: operations / batch / 1e9,
    gigaflopPerSecond: operations / time / 1e9,
    plainProductGigaflopPerSecond: plain,
    share: operations / time / 1e9 / plain,
    parts: [...parts].map(([part, m]) => ({
      part,
      runs: m.runs / rounds,
      seconds: m.seconds / rounds,
      gigaflopPerSecond: m.operations / m.seconds / 1e9,
    })),
  };
  if (json) {
    console.log(JSON.stringify(result));
    return;
  }
  console.log(
    `${name}: ${batch} images side by side, guidance ${result.guidance}, iterations ${result.iterations.join(",")}`,
  );
  console.log(`  ${time.toFixed(2)} s, ${result.imagesPerSecond.toFixed(2)} images/s (median of ${rounds})`);
  console.log(
    `  ${result.gigaflopPerImage.toFixed(1)} GFLOP an image, ${result.gigaflopPerSecond.toFixed(0)} GFLOP/s, ${(100 * result.share).toFixed(0)}% of a plain product's ${plain.toFixed(0)} in the same run`,
  );
  const inside = result.parts.reduce((sum, part) => sum + part.seconds, 0);
  for (const part of result.parts)
    console.log(
      `  ${part.part.padEnd(18)} ${part.seconds.toFixed(2).padStart(6)} s  ${String(part.runs).padStart(6)} runs  ${part.gigaflopPerSecond.toFixed(0).padStart(4)} GFLOP/s`,
    );
  console.log(
    `  ${"outside of graphs".padEnd(18)} ${Math.max(0, time - inside)
      .toFixed(2)
      .padStart(6)} s`,
  );
}

/** Sessions are made in the order of first use: down the levels, each beginning before it steps. */
const sessionNames = (kinds: string[]): string[] => [
  ...kinds.flatMap((kind, l) => [`level ${l + 1} begin`, `level ${l + 1} ${kind} step`]),
  "pixels",
];
