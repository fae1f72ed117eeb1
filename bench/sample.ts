/**
 * `npm run bench -- sample`: images per second, and each part's rate relative to a plain matrix product and a plain
 * copy.
 */

import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { writeRandomModel } from "../src/files/random-model.ts";
import { findModel } from "../src/cli/models.ts";
import { type ModelConfig, parseModelConfig, placedLevels } from "../src/config/model.ts";
import { presetFor, type PresetKind, type Size } from "../src/config/presets.ts";
import { emojiClasses } from "../src/data/emoji-classes.ts";
import { publishedPreset } from "../src/config/published.ts";
import { byteCount } from "../src/core/byte-count.ts";
import { quantizeFolder } from "../src/files/quantize.ts";
import { type ModelFolder, readModelFolder } from "../src/files/model.ts";
import { samplingBytes } from "../src/sample/memory.ts";
import { startThread } from "../src/workers/thread.ts";
import { type Measured, median } from "./engine.ts";
import type { LaneAnswer, LaneMessage } from "./sample-lane.ts";

export interface SampleBench {
  model: string;
  preset?: string;
  size?: Size;
  kind: PresetKind;
  dtype: "float32" | "q8" | "q4";
  cache: string;
  batch: number;
  guidance?: number;
  iterations?: number[];
  threads?: number;
  rounds: number;
  json?: boolean;
}

export async function benchSample({
  batch,
  rounds,
  json,
  threads = availableParallelism(),
  ...options
}: SampleBench): Promise<void> {
  const random = options.preset ?? (options.size && `${options.size}-${options.kind}`);
  const model = random === undefined ? await findModel(options.model) : await randomModel(random, options);
  const { config } = model;
  const levels = placedLevels(config);
  const { guidance = config.sampling.guidance } = options;
  const iterations = options.iterations ?? config.sampling.iterations ?? levels.map(({ tokens }) => tokens);

  // Like fractalgen sample: a thread for each core, each with its own images.
  const count = Math.min(threads, batch);
  const lanes = Array.from({ length: count }, () =>
    startThread<LaneMessage, LaneAnswer>(new URL("./sample-lane", import.meta.url), {
      folder: model.folder,
      threads: Math.floor(threads / count),
    }),
  );
  const all = async (message: (lane: number) => LaneMessage): Promise<LaneAnswer[]> => {
    lanes.forEach((lane, i) => lane.send(message(i)));
    return Promise.all(lanes.map((lane) => lane.next()));
  };
  await Promise.all(lanes.map((lane) => lane.next()));
  const rates = { product: [] as number[], copy: [] as number[] };
  const runs: LaneAnswer[][] = [];
  for (let round = 0; round <= rounds; round++) {
    for (const kind of ["product", "copy"] as const) {
      const found = await all(() => kind);
      rates[kind].push(found.reduce((sum, { rate }) => sum + rate!, 0));
    }
    const images = Array.from({ length: batch }, (_, i) => i);
    const part = (i: number) => images.slice(Math.floor((batch * i) / count), Math.floor((batch * (i + 1)) / count));
    runs.push(
      await all((i) => ({
        sample: {
          labels: part(i).map((image) => image % config.classes.length),
          indices: part(i),
          batch: part(i).length,
          seed: round,
          guidance,
          iterations,
        },
      })),
    );
  }
  // Steps of AR levels are products with as few rows as there are images.
  const rows = (guidance === 1 ? 1 : 2) * Math.ceil(batch / count);
  const isAr = levels.some(({ kind }) => kind === "ar");
  const thin = isAr ? (await all(() => ({ rows }))).reduce((sum, { rate }) => sum + rate!, 0) : undefined;
  lanes.forEach((lane) => lane.send("close"));
  await Promise.all(lanes.map((lane) => lane.ended()));

  const measured = rounds > 0 ? runs.slice(1) : runs;
  const slowest = (answers: LaneAnswer[]) => Math.max(...answers.map(({ seconds }) => seconds!));
  const seconds = median(measured.map(slowest));
  const answers = measured[measured.findIndex((one) => slowest(one) === seconds)];
  const parts = partsOf(answers, sessionNames(config));
  const weightBytes = [...model.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  const [product, copy] = [median(rates.product), median(rates.copy)];
  const total = (key: "operations" | "bytes" | "least") => parts.reduce((sum, part) => sum + part[key], 0);
  const result = {
    model: random ?? options.model,
    dtype: config.dtype ?? "float32",
    batch,
    guidance,
    iterations,
    threads,
    lanes: count,
    seconds,
    imagesPerSecond: batch / seconds,
    gigaflopPerImage: total("operations") / batch / 1e9,
    /** If weights are read once for all images and threads. */
    gigabytesPerImage: total("least") / batch / 1e9,
    plainProduct: product,
    plainCopy: copy,
    /** With as few rows as an AR step has, and weights that exceed all caches. */
    thinProduct: thin,
    /** The larger of the times for operations and for bytes at the plain rates. */
    floor: Math.max(total("operations") / product, total("least") / copy) / 1e9,
    /** Peak resident bytes, and the estimate made in advance. */
    memory: process.resourceUsage().maxRSS * 1024,
    memoryCounted: samplingBytes(config, { batch, lanes: count, guided: guidance !== 1, iterations, weightBytes }),
    parts: parts.map(({ name, runs, seconds, operations, bytes }) => ({
      name,
      runs,
      seconds,
      gigaflopPerSecond: operations / seconds / 1e9,
      gigabytesPerSecond: bytes / seconds / 1e9,
    })),
  };
  if (json) {
    console.log(JSON.stringify(result));
    return;
  }
  const share = (rate: number, plain: number) => `${((100 * rate) / plain).toFixed(0)}%`.padStart(5);
  const rate = (name: string, time: number, operations: number, bytes: number, more = "") => {
    const [flops, gigabytes] = [operations / time / 1e9, bytes / time / 1e9];
    console.log(
      `  ${name.padEnd(18)} ${time.toFixed(2).padStart(7)} s ${flops.toFixed(0).padStart(6)} GFLOP/s${share(flops, product)} ${gigabytes.toFixed(1).padStart(6)} GB/s${share(gigabytes, copy)}${more}`,
    );
  };
  console.log(
    `${result.model}, ${result.dtype}: ${batch} images per batch in ${count} x ${Math.floor(threads / count)} threads, guidance ${guidance}, iterations ${iterations.join(",")}`,
  );
  console.log(
    `  ${result.imagesPerSecond.toPrecision(3)} images/s; ${result.gigaflopPerImage.toPrecision(3)} GFLOP and ${result.gigabytesPerImage.toPrecision(3)} GB per image`,
  );
  console.log(
    `  a plain product: ${product.toFixed(0)} GFLOP/s, a plain copy: ${copy.toFixed(1)} GB/s; floor ${result.floor.toFixed(2)} s, measured ${(seconds / result.floor).toFixed(2)} times the floor`,
  );
  if (thin) console.log(`  a product with an AR step's ${rows} rows in each thread: ${thin.toFixed(0)} GFLOP/s`);
  console.log(`  peak memory ${byteCount(result.memory)}, estimated ${byteCount(result.memoryCounted)}`);
  rate("all", seconds, total("operations"), total("bytes"));
  for (const { name, runs, seconds: time, operations, bytes } of parts)
    rate(name, time, operations, bytes, `  ${runs} runs`);
  const inside = parts.reduce((sum, part) => sum + part.seconds, 0);
  console.log(
    `  ${"outside graphs".padEnd(18)} ${Math.max(0, seconds - inside)
      .toFixed(2)
      .padStart(7)} s`,
  );
}

interface Part extends Pick<Measured, "seconds" | "runs" | "operations"> {
  name: string;
  /** Bytes read and written, and the same if threads shared their weights. */
  bytes: number;
  least: number;
}

/** Total operations and bytes of all lanes, and average seconds and runs per lane. */
function partsOf(answers: LaneAnswer[], names: string[]): Part[] {
  return names.map((name, i) => {
    const all = answers.map(({ parts }) => parts![i]);
    const sum = (key: keyof Measured) => all.reduce((total, part) => total + part[key], 0);
    const each = (key: keyof Measured) => sum(key) / all.length;
    return {
      name,
      seconds: each("seconds"),
      runs: each("runs"),
      operations: sum("operations"),
      bytes: sum("values") + sum("weights"),
      least: sum("values") + each("weights"),
    };
  });
}

/** Sessions are created in the order of first use: from the first level down, `begin` before `step`. */
const sessionNames = (config: ModelConfig): string[] => [
  ...placedLevels(config).flatMap((level, l) => [
    ...(level.kind === "mar" && level.guidingPixel ? [`level ${l + 1} guiding`] : []),
    `level ${l + 1} begin`,
    `level ${l + 1} ${level.kind} step`,
  ]),
  "pixels",
];

/** A preset's architecture with random weights, created once and cached. */
async function randomModel(
  name: string,
  { size, kind, dtype, cache }: Pick<SampleBench, "size" | "kind" | "dtype" | "cache">,
): Promise<ModelFolder> {
  const emoji = { imageSize: 32, channels: 3 };
  const config = size
    ? parseModelConfig({ ...presetFor({ size, kind }, emoji).model, classes: [...emojiClasses] }, name)
    : publishedPreset(name);
  const plain = join(cache, "random", name);
  const wanted = dtype === "float32" ? plain : `${plain}-${dtype}`;
  if (!existsSync(wanted)) {
    console.error(`writing random weights to ${wanted}`);
    if (!existsSync(plain)) await writeRandomModel(plain, config, { seed: 0 });
    if (dtype !== "float32") await quantizeFolder(readModelFolder(plain), wanted, { dtype });
  }
  return readModelFolder(wanted);
}
