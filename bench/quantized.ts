/**
 * `npm run bench -- quantized`: the cost of 8-bit and 4-bit weights in likelihood, and how often the likeliest byte
 * agrees.
 */

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findModel } from "../src/cli/models.ts";
import { imagesBetween } from "../src/data/dataset.ts";
import { openDataset } from "../src/data/open.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { estimateView } from "../src/evaluate/likelihood.ts";
import { passOver } from "../src/evaluate/passes.ts";
import { externalModel } from "../src/files/external.ts";
import { type ModelFolder, readModelFolder, weightsName } from "../src/files/model.ts";
import { quantizeFolder } from "../src/files/quantize.ts";
import { writeOnnx } from "../src/graph/onnx.ts";
import { named } from "../src/graph/tree.ts";
import { lossGraph } from "../src/model/loss.ts";
import { planFeeds } from "../src/model/plan.ts";

export interface QuantizedBench {
  model: string;
  data: string;
  cache: string;
  images: number;
  batch: number;
  json?: boolean;
}

export async function benchQuantized({ model, data, cache, images, batch, json }: QuantizedBench): Promise<void> {
  const original = await findModel(model);
  const { imageSize, channels, classes } = original.config;
  const { heldOut } = await openDataset(data, { cache, imageSize, channels: data === "emoji" ? undefined : channels });
  const count = Math.min(images, heldOut.count);
  const engine = await nodeEngine();
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-bench-"));

  /** Bits per dimension by the published estimate (null class), and the likeliest byte of every predicted value. */
  async function measure(one: ModelFolder) {
    const external = externalModel(one);
    const { each, logits } = lossGraph(one.config);
    const outputs = { nats: each.pixels, ...Object.fromEntries(logits.map((tensor, c) => [`logits.${c}`, tensor])) };
    const session = await engine.session(writeOnnx(outputs, external), { folder: one.folder });
    const best: number[] = [];
    let sum = 0;
    for (let from = 0; from < count; from += batch) {
      const to = Math.min(count, from + batch);
      const views = Array.from({ length: to - from }, (_, i) => estimateView(from + i));
      const given = {
        images: imagesBetween(heldOut, { from, to }),
        labels: new Int32Array(to - from).fill(classes.length),
      };
      const { feeds, pixels } = passOver(one.config, views, { inOrder: false });
      const results = await session.run(named({ ...feeds, ...planFeeds(one.config, given) }));
      (results.nats.data as Float32Array).forEach((n, i) => (sum += n * pixels.weight[Math.floor(i / channels)]));
      for (const [name, { data }] of Object.entries(results))
        if (name !== "nats")
          for (let at = 0; at < data.length; at += 256) best.push(likeliest(data as Float32Array, at));
    }
    await session.dispose();
    return { bits: sum / Math.LN2 / (count * imageSize ** 2 * channels), best };
  }

  const full = await measure(original);
  const rows = [{ dtype: "float32", megabytes: megabytes(original.folder), bits: full.bits, agreement: 1 }];
  for (const dtype of ["q8", "q4"] as const) {
    await quantizeFolder(original, join(folder, dtype), { dtype });
    const { bits, best } = await measure(readModelFolder(join(folder, dtype)));
    const same = best.reduce((n, byte, i) => n + Number(byte === full.best[i]), 0);
    rows.push({ dtype, megabytes: megabytes(join(folder, dtype)), bits, agreement: same / best.length });
  }
  rmSync(folder, { recursive: true, force: true });
  if (json) console.log(JSON.stringify({ model, data, images: count, values: full.best.length, rows }));
  else {
    console.log(`${model} on ${count} held-out images of ${data}, ${full.best.length} values`);
    for (const { dtype, megabytes: size, bits, agreement } of rows)
      console.log(
        `  ${dtype.padEnd(8)} ${size.toFixed(1).padStart(7)} MB  ${bits.toFixed(4)} bits/dim  ${(100 * agreement).toFixed(2)}% same likeliest byte`,
      );
  }
}

function likeliest(logits: Float32Array, at: number): number {
  let best = 0;
  for (let byte = 1; byte < 256; byte++) if (logits[at + byte] > logits[at + best]) best = byte;
  return best;
}

const megabytes = (folder: string): number => statSync(join(folder, weightsName)).size / 1e6;
