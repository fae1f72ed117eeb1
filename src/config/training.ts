/** How a model is trained: the published trainer's settings, with steps for epochs, each said once. */

import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { explain } from "./model.ts";
import { type Kind, schemaOf, type ValueOf } from "./setting.ts";

/** Ways to vary images from step to step: by a pixel, left and right, in colour. */
export const augmentations = ["shift", "flip", "hue"] as const;
export type Augmentation = (typeof augmentations)[number];

export type TrainingSetting = Kind & {
  /** What it is or does, as the end of a sentence. */
  help: string;
  usual?: unknown;
  /** Where its option stands; without, it is an option of every command that runs graphs. */
  group?: TrainingGroup;
  /** A shorter name of the option. */
  alias?: string;
  /** A resumed run cannot change it: steps already taken, or the state that they left, depend on it. */
  fixed?: true;
};

export const trainingGroups = ["recipe", "when", "running"] as const;
export type TrainingGroup = (typeof trainingGroups)[number];

const share = { kind: "number", least: 0, most: 1 } as const;
const dropout = { kind: "number", least: 0, most: 0.99 } as const;

/** From a row follow the configuration's key, the option of `train` and what `--resume` may change. */
export const trainingSettings = {
  steps: { kind: "whole", least: 1, most: 1e12, usual: 4000, group: "recipe", help: "optimiser steps" },
  batch: {
    kind: "whole",
    least: 1,
    most: 65536,
    usual: 32,
    fixed: true,
    group: "recipe",
    help: "images per step, however many run at once",
  },
  learningRate: {
    kind: "number",
    above: 0,
    usual: 1e-3,
    alias: "lr",
    group: "recipe",
    help: "peak learning rate",
  },
  minLearningRate: {
    kind: "number",
    least: 0,
    usual: 0,
    alias: "min-lr",
    group: "recipe",
    help: "where the schedule ends",
  },
  warmup: { kind: "whole", least: 0, usual: 200, group: "recipe", help: "steps of linear warm-up" },
  schedule: {
    kind: "choice",
    choices: ["cosine", "constant", "wsd"],
    usual: "cosine",
    group: "recipe",
    help: "learning rate after the warm-up; wsd: constant, then a linear decay, so that a run can be prolonged",
  },
  decayShare: { ...share, usual: 0.3, group: "recipe", help: "share of the steps in which wsd decays" },
  optimizer: {
    kind: "choice",
    choices: ["adamw", "muon"],
    usual: "adamw",
    fixed: true,
    group: "recipe",
    help: "muon: orthogonalised momentum for the matrices inside blocks, AdamW for the rest",
  },
  muonMomentum: { kind: "number", least: 0, most: 0.9999, usual: 0.95, group: "recipe", help: "of Muon" },
  /** Matrices inside blocks; the byte codebooks of the pixel level; embeddings of classes, patches and positions. */
  rates: {
    kind: "factors",
    names: ["blocks", "codebooks", "embeddings"],
    least: 0,
    usual: {},
    group: "recipe",
    help: "multiples of the learning rate for groups of parameters, such as codebooks=0.5,embeddings=2",
  },
  codebookStart: {
    kind: "choice",
    choices: ["normal", "cosine"],
    usual: "normal",
    fixed: true,
    group: "recipe",
    help: "how byte codebooks start: random rows as published, or cosines, in which neighbouring values are alike",
  },
  residualStart: {
    kind: "choice",
    choices: ["xavier", "zero"],
    usual: "xavier",
    fixed: true,
    group: "recipe",
    help: "how the last matrix of each residual branch starts",
  },
  innerShare: {
    kind: "numbers",
    above: 0,
    most: 1,
    usual: [],
    group: "recipe",
    help: "share of the predicted patches that go down from each level, from the first on (default: all)",
  },
  weightDecay: { kind: "number", least: 0, usual: 0.05, group: "recipe", help: "decoupled weight decay" },
  betas: { kind: "pair", least: 0, most: 1, usual: [0.9, 0.95], group: "recipe", help: "of AdamW's two averages" },
  eps: { kind: "number", above: 0, usual: 1e-8, group: "recipe", help: "of AdamW" },
  clip: { kind: "number", above: 0, usual: 3, group: "recipe", help: "norm that gradients are clipped to" },
  ema: {
    kind: "number",
    least: 0,
    most: 0.999999,
    usual: 0.999,
    fixed: true,
    group: "recipe",
    help: "decay of the moving average of the weights, 0 for none",
  },
  labelDrop: { ...share, usual: 0.1, group: "recipe", help: "share of labels dropped to the null class" },
  /** A normal distribution cut to [0, 1], drawn for each square. */
  maskRate: { ...share, usual: 1, group: "recipe", help: "mean share of a MAR level's patches that are masked" },
  maskRateDeviation: {
    kind: "number",
    above: 0,
    most: 10,
    usual: 0.25,
    group: "recipe",
    help: "standard deviation of that share",
  },
  attentionDropout: { ...dropout, usual: 0, group: "recipe", help: "dropout on attention" },
  projectionDropout: { ...dropout, usual: 0, group: "recipe", help: "dropout on projections" },
  /** Between: classes by their size to the power 1 - balance. */
  balance: { ...share, usual: 0, group: "recipe", help: "0: images alike, 1: classes alike" },
  augment: {
    kind: "several",
    choices: augmentations,
    usual: [],
    group: "recipe",
    help: "vary the images, where a class allows it, by shift, flip or hue, comma-separated, or all, or none",
  },
  seed: {
    kind: "whole",
    least: 0,
    most: Number.MAX_SAFE_INTEGER,
    usual: 0,
    fixed: true,
    group: "recipe",
    help: "of weights, order and draws",
  },
  checkpointSeconds: {
    kind: "number",
    above: 0,
    usual: 300,
    group: "when",
    help: "seconds between checkpoints, each with a grid of samples",
  },
  saveSteps: {
    kind: "whole",
    least: 0,
    usual: 0,
    group: "when",
    help: "keep a checkpoint every n steps, as step-000500/; 0 for none",
  },
  evaluateSteps: { kind: "whole", least: 1, usual: 200, group: "when", help: "steps between held-out likelihoods" },
  evaluateImages: {
    kind: "whole",
    least: 1,
    usual: 256,
    group: "when",
    help: "held-out images that these take, evenly spaced; the last one takes all",
  },
  kidSteps: {
    kind: "whole",
    least: 0,
    usual: 0,
    group: "when",
    help: "steps between KIDs of samples, each with a checkpoint; 0 for none (the default)",
  },
  kidImages: {
    kind: "whole",
    least: 2,
    most: 100_000,
    usual: 256,
    group: "when",
    help: "images drawn for one KID (default: 256)",
  },
  microBatch: {
    kind: "whole",
    least: 1,
    most: 65536,
    usual: 8,
    group: "running",
    help: "images at once in each thread; gradients accumulate, and no result depends on it",
  },
  checkpointing: {
    kind: "flag",
    usual: false,
    group: "running",
    help: "compute what gradients need a second time instead of keeping it: less memory, same result",
  },
  /** Threads that share a batch: the last bits of a step depend on how many. */
  threads: { kind: "whole", least: 1, most: 1024, help: "processor threads" },
} as const satisfies Record<string, TrainingSetting>;

type Table = typeof trainingSettings;
/** The training settings by name. */
export type TrainingName = keyof Table;
type Defaulted = { [N in TrainingName]: Table[N] extends { usual: unknown } ? N : never }[TrainingName];

/** How a model is trained: optimiser, schedule, masks and batches. */
export type TrainingConfig = { [N in Defaulted]: ValueOf<Table[N]> } & {
  [N in Exclude<TrainingName, Defaulted>]?: ValueOf<Table[N]>;
};

export const trainingNames = Object.keys(trainingSettings) as TrainingName[];
/** The row of a setting with all that rows can have. */
export const trainingSetting = (name: TrainingName): TrainingSetting => trainingSettings[name];

const schema = z.strictObject(
  Object.fromEntries(
    trainingNames.map((name) => {
      const { usual } = trainingSetting(name);
      const one: z.ZodType = schemaOf(trainingSetting(name));
      return [name, usual === undefined ? one.optional() : one.prefault(usual)];
    }),
  ),
);

/** Training settings from a JSON value, with defaults for what it leaves out; `source` names it in errors. Throws a `UserError`. */
export function parseTrainingConfig(value: unknown, source: string): TrainingConfig {
  const parsed = schema.safeParse(renamed(value));
  if (!parsed.success) throw new UserError(`${source}: ${explain(parsed.error.issues[0], Object.keys(schema.shape))}`);
  return parsed.data as TrainingConfig;
}

/** Runs and files of earlier versions say `flip`, which is now one of the ways to augment. */
function renamed(value: unknown): unknown {
  const { flip, ...rest } = (value ?? {}) as { flip?: unknown; augment?: Augmentation[] };
  if (typeof flip !== "boolean") return value;
  return flip ? { ...rest, augment: [...new Set([...(rest.augment ?? []), "flip"])] } : rest;
}

/** The published `blr`: a learning rate for 256 images a step, scaled to the batch. */
export const scaledLearningRate = (base: number, batch: number): number => (base * batch) / 256;

/** How many steps are done when the learning rate begins to fall: the warm-up, and of wsd the steps before its decay. */
export function decayBegins({ warmup, schedule, decayShare, steps }: TrainingConfig): number {
  if (schedule === "constant") return Infinity;
  return schedule === "wsd" ? Math.max(warmup, steps - decaySteps({ decayShare, steps }) + 1) : warmup;
}

/** Whether the next step is the first of wsd's decay: a longer run takes the same steps up to here. */
export const isLastStable = (step: number, config: TrainingConfig): boolean =>
  config.schedule === "wsd" && step === decayBegins(config) && step < config.steps;

const decaySteps = ({ decayShare, steps }: Pick<TrainingConfig, "decayShare" | "steps">): number =>
  Math.max(1, Math.round(decayShare * steps));

/** The rate of a step counted from 0: a linear warm-up, then half a cosine down to the least rate, or constant. */
export function learningRateAt(step: number, config: TrainingConfig): number {
  const { learningRate, minLearningRate, warmup, schedule, decayShare, steps } = config;
  if (step < warmup) return (learningRate * (step + 1)) / warmup;
  if (schedule === "constant") return learningRate;
  if (schedule === "wsd") {
    const left = Math.min(1, (steps - step) / decaySteps({ decayShare, steps }));
    return minLearningRate + (learningRate - minLearningRate) * left;
  }
  const done = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return minLearningRate + (learningRate - minLearningRate) * 0.5 * (1 + Math.cos(Math.PI * done));
}
