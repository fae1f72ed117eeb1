/**
 * `npm run bench -- speedrun`: trains one small model on fixed data to a fixed held-out likelihood, and reports how
 * long that took. docs/speedrun.md lists the records.
 */

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { type ModelConfig, parseModelConfig } from "../src/config/model.ts";
import { kindAt, type PresetKind } from "../src/config/presets.ts";
import { recipes, type RecipeName } from "../src/config/recipes.ts";
import { parseTrainingConfig, type TrainingConfig } from "../src/config/training.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { openDataset } from "../src/data/open.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { boundSizes, floatingPointOperations } from "../src/graph/cost.ts";
import { named } from "../src/graph/tree.ts";
import { inGroups, planPass } from "../src/model/plan.ts";
import { trainingGraph } from "../src/model/training.ts";
import { trainingMasks } from "../src/train/batches.ts";
import { optimizerOperations } from "../src/train/optimizer.ts";
import { trainingShare } from "../src/train/share.ts";
import { startingState } from "../src/train/state.ts";
import { groupSize } from "../src/train/step.ts";
import { train } from "../src/train/trainer.ts";
import { parallelTrainingStep } from "../src/workers/training.ts";
import { median } from "./engine.ts";

export interface SpeedrunBench {
  recipe: RecipeName;
  kind: PresetKind;
  seeds: number[];
  steps?: number;
  /** Held-out bits per dimension to reach, see `targets`. The exit code is 1 if a run does not reach a given one. */
  target?: number;
  config?: string;
  threads?: number;
  cache: string;
  json?: boolean;
}

export type SpeedrunOptions = Omit<SpeedrunBench, "seeds">;

/** Parts of a configuration that replace those of a recipe. */
export interface Given {
  model?: object;
  training?: object;
}

/** Pixels per side of the emoji. */
const imageSize = 32;

/**
 * Settings of a run besides its recipe. The number of steps determines the learning rate schedule.
 */
const runs: Record<RecipeName, { steps: Record<PresetKind, number>; batch: number; learningRate: number }> = {
  published: { steps: { ar: 800, mar: 800, mix: 800 }, batch: 32, learningRate: 0.006 },
  default: { steps: { ar: 430, mar: 390, mix: 390 }, batch: 16, learningRate: 0.006 },
};

/**
 * The published recipe's mean over three seeds: null class, averaged weights, all held-out images. There is no published
 * recipe for a mix, whose likelihood is estimated like that of MAR levels.
 */
const targets: Record<PresetKind, number> = { ar: 2.533, mar: 2.932, mix: 2.932 };

/** 0.9M parameters: two transformer levels over patches, and the pixel level. */
export const speedrunLevels = (kind: PresetKind) => [
  { kind: kindAt(kind, 0), patch: 4, width: 128, depth: 4, heads: 4 },
  { kind: kindAt(kind, 1), patch: 1, width: 64, depth: 2, heads: 2, ...(kind === "mix" ? { conditions: 5 } : {}) },
  { kind: "pixel", width: 64, depth: 1, heads: 2 },
];

const speedrunModel = (kind: PresetKind, { classes, channels }: Dataset, given: object): ModelConfig =>
  parseModelConfig({ imageSize, channels, classes, levels: speedrunLevels(kind), ...given }, "the speedrun");

export interface Run {
  recipe: RecipeName;
  kind: PresetKind;
  seed: number;
  steps: number;
  /** Held out, per dimension. */
  bits: number;
  target: number;
  reached: boolean;
  /** Of training alone, without measuring likelihoods. */
  seconds: number;
  /** The median, and the fastest tenth: on a busy machine the latter is nearer to the truth. */
  secondsPerStep: number;
  fastestSecondsPerStep: number;
  images: number;
  teraflop: number;
  evaluations: { step: number; bits: number }[];
}

export const givenIn = (file: string | undefined): Given =>
  file === undefined ? {} : (JSON.parse(readFileSync(file, "utf8")) as Given);

export async function benchSpeedrun({ seeds, ...options }: SpeedrunBench): Promise<void> {
  const done: Run[] = [];
  const given = givenIn(options.config);
  for (const seed of seeds) {
    const one = await speedrun(seed, options, given);
    done.push(one);
    if (options.json) console.log(JSON.stringify(one));
    if (options.target !== undefined && !one.reached) process.exitCode = 1;
  }
  if (options.json || done.length < 2) return;
  const spread = (of: (one: Run) => number, digits: number): string => {
    const values = done.map(of);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
    return `${mean.toFixed(digits)} ± ${Math.sqrt(variance).toFixed(digits)}`;
  };
  console.log(
    `${done.length} seeds: ${spread(({ bits }) => bits, 3)} bits per dimension, ${spread(({ seconds }) => seconds, 0)} s of training (means and standard deviations)`,
  );
}

/** One run, whose settings `given` replaces in part. */
export async function speedrun(
  seed: number,
  { recipe, kind, target = targets[kind], threads = availableParallelism(), cache, json, ...options }: SpeedrunOptions,
  given: Given = {},
): Promise<Run> {
  const dataset = await openDataset("emoji", { imageSize, cache });
  const { model: ofModel, training: ofTraining } = recipes[recipe];
  const model = speedrunModel(kind, dataset, { ...ofModel, ...given.model });
  const steps = options.steps ?? runs[recipe].steps[kind];
  const training = parseTrainingConfig(
    {
      batch: runs[recipe].batch,
      microBatch: 16,
      ema: 0.99,
      warmup: Math.round(steps / 20),
      evaluateImages: 192,
      evaluateSteps: Math.max(1, Math.round(steps / 4)),
      checkpointSeconds: 1e9,
      learningRate: runs[recipe].learningRate,
      ...ofTraining,
      ...given.training,
      steps,
      seed,
      threads,
    },
    options.config ?? "the recipe",
  );
  const engine = await nodeEngine({ threads });
  const step = await parallelTrainingStep(model, training);
  const state = startingState(model, seed, training);
  if (!json)
    console.log(
      `speedrun: recipe ${recipe}, ${kind} levels, seed ${seed}: ${steps} steps of ${training.batch} emoji of ${imageSize}x${imageSize}; the target is ${target} bits per dimension held out`,
    );
  const started = performance.now();
  let evaluating = 0;
  let before = performance.now();
  const evaluations: { step: number; bits: number }[] = [];
  const seconds: number[] = [];
  for await (const record of train(engine, { model, training, dataset, state, step })) {
    if (record.kind === "step") seconds.push(record.seconds);
    if (record.kind === "evaluation") {
      evaluating += performance.now() - before;
      evaluations.push({ step: record.step, bits: record.bits });
      if (!json) console.log(`  step ${record.step}: ${record.bits.toFixed(3)} bits per dimension`);
    }
    before = performance.now();
  }
  await step.dispose();
  const { bits } = evaluations.at(-1)!;
  const result: Run = {
    recipe,
    kind,
    seed,
    steps,
    bits,
    target,
    reached: bits <= target,
    // Time spent on held-out likelihoods is excluded.
    seconds: (performance.now() - started - evaluating) / 1000,
    secondsPerStep: median(seconds),
    fastestSecondsPerStep: seconds.toSorted((a, b) => a - b)[Math.floor(seconds.length / 10)],
    images: steps * training.batch,
    teraflop: (steps * operationsOf(model, training)) / 1e12,
    evaluations,
  };
  if (!json)
    console.log(
      `${result.reached ? "reached" : "NOT reached"}: ${bits.toFixed(3)} bits per dimension after ${result.seconds.toFixed(0)} s of training, ${steps} steps (${result.secondsPerStep.toFixed(3)} s each), ${result.images} images, ${result.teraflop.toFixed(1)} TFLOP`,
    );
  return result;
}

/** Floating-point operations of one step: the mean over a few steps with different masks. */
function operationsOf(model: ModelConfig, training: TrainingConfig): number {
  const { seed, batch } = training;
  const graph = named(trainingGraph(model));
  const blank = {
    images: new Uint8Array(batch * model.imageSize ** 2 * model.channels),
    labels: new Int32Array(batch),
  };
  const counted = [0, 1, 2].map((step) => {
    const share = trainingShare(training, step)?.(model, blank);
    const plan = planPass(model, batch, trainingMasks(seed, step, training), share);
    const feeds = Object.entries(named(inGroups(model, plan, groupSize(model))));
    const shapes = Object.fromEntries(feeds.map(([name, { shape }]) => [name, shape]));
    shapes["images"] = [batch, model.imageSize, model.imageSize, model.channels];
    return floatingPointOperations(graph, boundSizes(graph, shapes));
  });
  return counted.reduce((a, b) => a + b, 0) / counted.length + optimizerOperations(model, training);
}
