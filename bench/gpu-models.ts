/** Sampling, training and likelihood of a model with random weights on a GPU, for a limited time. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelConfig } from "../src/config/model.ts";
import { parseTrainingConfig } from "../src/config/training.ts";
import { product } from "../src/core/arrays.ts";
import { splitOf } from "../src/data/dataset.ts";
import type { Engine } from "../src/engine/engine.ts";
import { likelihoods } from "../src/evaluate/likelihood.ts";
import type { ExternalModel } from "../src/files/external.ts";
import { modelParameters } from "../src/model/parameters.ts";
import { createSampler } from "../src/sample/sampler.ts";
import { trainingMasks } from "../src/train/batches.ts";
import { deviceLearner } from "../src/train/device-learner.ts";
import { type Measured, measuring, type MeasuringEngine, median } from "./engine.ts";
import type { TypeRates } from "./gpu-device.ts";
import { noise, stepOperations } from "./train.ts";

/** A measurement; an incomplete one has drawn only a share of its images. */
export interface Measurement {
  name: string;
  batch: number;
  /** Images drawn or learned in `seconds`; a fraction of the batch if it is incomplete. */
  images: number;
  seconds: number;
  share: number;
  gigaflop: number;
  /** Seconds that the operations and bytes take at the plain rates, the larger of the two; undefined without rates. */
  floor?: number;
  runs: number;
  /** The most kernels that these runs launch. */
  launches: number;
  /** Bytes copied between the host and the device. */
  busBytes: number;
  /** Seconds before the measurement, mostly for compiling shaders. */
  warmUp: number;
}

/** The time that a measurement may take. */
export interface Limit {
  seconds: number;
  signal: AbortSignal;
}

interface Task extends Limit {
  name: string;
  batch: number;
  /** The plain rates in the precision of the engine. */
  rates?: TypeRates;
}

/** A model whose weights are written to a temporary folder when they are first needed. */
export type Model = () => ExternalModel;

/** Weights that share the same random bytes, as the time does not depend on them: a small file for any model. */
export function randomWeights(config: ModelConfig): Model {
  let model: ExternalModel | undefined;
  return () => {
    if (model) return model;
    const sizes = new Map(modelParameters(config).map(({ name, shape }) => [name, 4 * product(shape)]));
    const folder = mkdtempSync(join(tmpdir(), "fractalgen-gpu-"));
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    const block = randomBlock(Math.max(...sizes.values()) / 4);
    writeFileSync(join(folder, "weights"), new Uint8Array(block.buffer));
    return (model = { config, folder, weights: (name) => ({ file: "weights", offset: 0, bytes: sizes.get(name)! }) });
  };
}

/** Numbers between -0.03 and 0.03. */
const randomBlock = (length: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length }, (_, i) => ((Math.imul(i + 1, 2654435761) >>> 8) / 2 ** 24 - 0.5) * 0.06);

/** Draws one batch, after a warm-up until the first pixels are drawn. Undefined if the time ends before that. */
export async function sampled(
  engine: Engine,
  model: Model,
  { name, batch, rates, seconds: limit, signal }: Task,
): Promise<Measurement | undefined> {
  const external = model();
  const { config } = external;
  const bytes = new Map(modelParameters(config).map((one) => [one.name, 4 * product(one.shape)]));
  const counted = measuring(engine, (weight) => bytes.get(weight)!);
  const sampler = createSampler(counted, external);
  const labels = Array.from({ length: batch }, (_, i) => i % config.classes.length);
  const started = performance.now();
  const since = (time: number) => (performance.now() - time) / 1000;
  try {
    let warm = 0;
    for await (const { done } of sampler.sample({ labels, batch, seed: 1 })) {
      warm = done;
      if (done > 0 || since(started) > limit / 2 || signal.aborted) break;
    }
    const warmUp = since(started);
    if (warm === 0 || signal.aborted) return undefined;
    counted.reset();
    const begun = performance.now();
    let share = 0;
    for await (const { done } of sampler.sample({ labels, batch, seed: 2 })) {
      share = done;
      if (since(started) > limit || signal.aborted) break;
    }
    const seconds = since(begun);
    return { name, batch, images: batch * share, seconds, share, warmUp, ...totals(counted, rates) };
  } finally {
    await sampler.dispose();
  }
}

/** Sums of all sessions, and the floor. */
function totals(
  { measured }: MeasuringEngine,
  rates: TypeRates | undefined,
): Pick<Measurement, "gigaflop" | "floor" | "runs" | "launches" | "busBytes"> {
  const sum = (key: keyof Measured) => measured.reduce((total, one) => total + one[key], 0);
  const gigaflop = sum("operations") / 1e9;
  const floor = rates && Math.max(gigaflop / rates.product, (sum("values") + sum("weights")) / 1e9 / rates.copy);
  return { gigaflop, floor, runs: sum("runs"), launches: sum("launches"), busBytes: sum("copied") };
}

/** Trains on random images with the state on the device: a warm-up step, then as many as the time allows, at most 20. */
export async function trainedSteps(
  engine: Engine,
  model: ModelConfig,
  { name, batch, rates, seconds: limit, signal, checkpointing = false }: Task & { checkpointing?: boolean },
): Promise<Measurement | undefined> {
  const settings = { batch, microBatch: batch, ema: 0, steps: 100, checkpointing };
  const training = parseTrainingConfig(settings, "the benchmark");
  const parameters = modelParameters(model);
  const longest = Math.max(...parameters.map(({ shape }) => product(shape)));
  // All weights share one array, and all moments another one: only their copies on the device differ.
  const [weights, zeros] = [randomBlock(longest), new Float32Array(longest)];
  const views = (whole: Float32Array) =>
    new Map(parameters.map((one) => [one.name, whole.subarray(0, product(one.shape))]));
  const values = views(weights);
  const empty = views(zeros);
  const moments = new Map([...empty].map(([one, zero]) => [one, { first: zero, second: zero }]));
  const started = performance.now();
  const since = (time: number) => (performance.now() - time) / 1000;
  const counted = measuring(engine);
  const learner = await deviceLearner(counted, {
    model,
    training,
    state: { step: 0, values, average: values, moments },
    onNotFinite: ({ loss }) => new Error(`the loss is ${loss}`),
  });
  const data = noise(model, batch);
  const times: number[] = [];
  let gigaflop = 0;
  try {
    for (let step = 0; step <= 20 && !signal.aborted; step++) {
      const begun = performance.now();
      await learner.learn(() => data, step);
      times.push(since(begun));
      if (step === 0) counted.reset();
      else gigaflop = stepOperations(model, batch, trainingMasks(training.seed, step, training), { loop: false }) / 1e9;
      if (since(started) + times.at(-1)! > limit) break;
    }
    if (times.length < 2) return undefined;
    const [warmUp, ...steps] = times;
    const seconds = median(steps);
    const { runs, launches, busBytes } = totals(counted, rates);
    const per = (count: number) => Math.round(count / steps.length);
    return {
      name,
      batch,
      images: batch,
      seconds,
      share: 1,
      gigaflop,
      floor: rates && gigaflop / rates.product,
      runs: per(runs),
      launches: per(launches),
      busBytes: per(busBytes),
      warmUp,
    };
  } finally {
    await learner.dispose();
  }
}

/** The likelihood of the same images computed in both precisions. */
export interface Comparison {
  name: string;
  images: number;
  /** Mean bits per dimension. */
  float32: number;
  float16: number;
  /** The largest difference of an image. */
  difference: number;
}

/** Compares the likelihoods of random images in both precisions. Undefined if the time ends before. */
export async function likelihoodsCompared(
  engines: Record<"float32" | "float16", Engine>,
  model: Model,
  { name, images, seconds, signal }: Limit & { name: string; images: number },
): Promise<Comparison | undefined> {
  const external = model();
  const split = splitOf({ ...noise(external.config, images), names: Array.from({ length: images }, String) });
  const end = AbortSignal.any([signal, AbortSignal.timeout(1000 * seconds)]);
  const bits: Record<keyof typeof engines, number[]> = { float32: [], float16: [] };
  for (const precision of ["float32", "float16"] as const)
    for await (const one of likelihoods(engines[precision], external, split, { batch: 1 })) {
      bits[precision].push(one.bits);
      if (end.aborted) return undefined;
    }
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / images;
  const difference = Math.max(...bits.float32.map((of, i) => Math.abs(of - bits.float16[i])));
  return { name, images, float32: mean(bits.float32), float16: mean(bits.float16), difference };
}
