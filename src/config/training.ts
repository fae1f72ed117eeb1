/** How a model is trained: the published trainer's settings, with steps instead of epochs, each declared once. */

import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { explain } from "./model.ts";
import { type SettingKind, schemaOf, type SettingValue, writeSetting } from "./setting.ts";

/** Image augmentations: shifts by a pixel, horizontal flips, changes of hue. */
export const augmentations = ["shift", "flip", "hue"] as const;
export type Augmentation = (typeof augmentations)[number];

export type TrainingSetting = SettingKind & {
  /** What it is or does, as a phrase without a full stop. */
  help: string;
  usual?: unknown;
  /** Presets choose it by the size of the images, although it is not in the group of the recipe. */
  byPreset?: true;
  /** The group of its option in the help. Without one, it is an option of every command that runs graphs. */
  group?: TrainingGroup;
  /** A shorter name for the option. */
  alias?: string;
  /** A resumed run cannot change it, because earlier steps or their saved state depend on it. */
  fixed?: true;
};

export const trainingGroups = ["recipe", "when", "running", "replicas"] as const;
export type TrainingGroup = (typeof trainingGroups)[number];

const share = { kind: "number", least: 0, most: 1 } as const;
const dropout = { kind: "number", least: 0, most: 0.99 } as const;

/** Each row defines a configuration key, an option of `train`, and whether `--resume` may change it. */
export const trainingSettings = {
  steps: { kind: "whole", least: 1, most: 1e12, usual: 4000, group: "recipe", help: "optimiser steps" },
  batch: {
    kind: "whole",
    least: 1,
    most: 65536,
    usual: 32,
    fixed: true,
    group: "recipe",
    help: "images per optimiser step, regardless of how many are computed at once",
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
    help: "learning rate at the end of the schedule",
  },
  warmup: { kind: "whole", least: 0, usual: 200, group: "recipe", help: "steps of linear warm-up" },
  schedule: {
    kind: "choice",
    choices: ["cosine", "constant", "wsd"],
    usual: "cosine",
    group: "recipe",
    help: "learning rate schedule after the warm-up; wsd stays constant and then decays linearly, so that a run can be extended",
  },
  decayShare: { ...share, usual: 0.3, group: "recipe", help: "share of the steps during which wsd decays" },
  optimizer: {
    kind: "choice",
    choices: ["adamw", "muon"],
    usual: "adamw",
    fixed: true,
    group: "recipe",
    help: "muon uses orthogonalised momentum for the matrices inside blocks, and AdamW for the rest",
  },
  muonMomentum: { kind: "number", least: 0, most: 0.9999, usual: 0.95, group: "recipe", help: "momentum of Muon" },
  /** Matrices inside blocks; the byte codebooks of the pixel level; embeddings of classes, patches and positions. */
  rates: {
    kind: "factors",
    names: ["blocks", "codebooks", "embeddings"],
    least: 0,
    usual: {},
    group: "recipe",
    help: "learning rate multipliers for groups of parameters, such as codebooks=0.5,embeddings=2",
  },
  codebookStart: {
    kind: "choice",
    choices: ["normal", "cosine"],
    usual: "normal",
    fixed: true,
    group: "recipe",
    help: "initialisation of the byte codebooks: normal (random rows, as published) or cosine (neighbouring values have similar rows)",
  },
  residualStart: {
    kind: "choice",
    choices: ["xavier", "zero"],
    usual: "xavier",
    fixed: true,
    group: "recipe",
    help: "initialisation of the last matrix of each residual branch",
  },
  innerShare: {
    kind: "numbers",
    above: 0,
    most: 1,
    usual: [],
    group: "recipe",
    help: "share of the predicted patches that each level passes down to the next, from the first level on (default: all)",
  },
  innerChoice: {
    kind: "choice",
    choices: ["uniform", "detail"],
    usual: "uniform",
    group: "recipe",
    help: "how the patches that are passed down are chosen: uniformly, or by detail (those with more detail more often, with smaller weights in the loss; for images with large flat areas)",
  },
  weightDecay: { kind: "number", least: 0, usual: 0.05, group: "recipe", help: "decoupled weight decay" },
  betas: {
    kind: "pair",
    least: 0,
    most: 1,
    usual: [0.9, 0.95],
    group: "recipe",
    help: "decay rates of AdamW's two moving averages",
  },
  eps: { kind: "number", above: 0, usual: 1e-8, group: "recipe", help: "epsilon of AdamW" },
  clip: { kind: "number", above: 0, usual: 3, group: "recipe", help: "maximum norm of the gradients" },
  ema: {
    kind: "number",
    least: 0,
    most: 0.999999,
    usual: 0.999,
    fixed: true,
    group: "recipe",
    help: "decay of the moving average of the weights; 0 for none",
  },
  labelDrop: {
    ...share,
    usual: 0.1,
    group: "recipe",
    help: "share of labels replaced by the null class, for classifier-free guidance",
  },
  /** Mean of a normal distribution truncated to [0, 1], drawn from for each square. */
  maskRate: { ...share, usual: 1, group: "recipe", help: "mean share of a MAR level's patches that are masked" },
  maskRateDeviation: {
    kind: "number",
    above: 0,
    most: 10,
    usual: 0.25,
    group: "recipe",
    help: "standard deviation of the masked share",
  },
  attentionDropout: { ...dropout, usual: 0, group: "recipe", help: "dropout on attention" },
  projectionDropout: { ...dropout, usual: 0, group: "recipe", help: "dropout on projections" },
  /** In general, classes are drawn in proportion to their size to the power 1 - balance. */
  balance: {
    ...share,
    usual: 0,
    group: "recipe",
    help: "class balancing: 0 draws all images equally often, 1 all classes",
  },
  augment: {
    kind: "several",
    choices: augmentations,
    usual: [],
    group: "recipe",
    help: "augmentations of the images, for the classes that allow them: shift, flip or hue, comma-separated, or all or none",
  },
  seed: {
    kind: "whole",
    least: 0,
    most: Number.MAX_SAFE_INTEGER,
    usual: 0,
    fixed: true,
    group: "recipe",
    help: "seed of the initial weights, the order of images and all random draws",
  },
  checkpointSeconds: {
    kind: "number",
    above: 0,
    usual: 300,
    group: "when",
    help: "write a checkpoint, with a grid of samples, every n seconds",
  },
  saveSteps: {
    kind: "whole",
    least: 0,
    usual: 0,
    group: "when",
    help: "keep a checkpoint every n steps, in a folder such as step-000500/; 0 for none",
  },
  evaluateSteps: {
    kind: "whole",
    least: 1,
    usual: 200,
    group: "when",
    help: "measure the held-out likelihood every n steps",
  },
  evaluateImages: {
    kind: "whole",
    least: 1,
    usual: 256,
    byPreset: true,
    group: "when",
    help: "held-out images used for each measurement, evenly spaced; the last one uses all",
  },
  kidSteps: {
    kind: "whole",
    least: 0,
    usual: 0,
    group: "when",
    help: "measure the KID of samples and keep a checkpoint every n steps; 0 for none",
  },
  kidImages: {
    kind: "whole",
    least: 2,
    most: 100_000,
    usual: 256,
    group: "when",
    help: "images drawn for each KID",
  },
  microBatch: {
    kind: "whole",
    least: 1,
    most: 65536,
    usual: 8,
    group: "running",
    help: "images computed at once in each thread; gradients are accumulated, so the result does not depend on it",
  },
  checkpointing: {
    kind: "flag",
    usual: false,
    group: "running",
    help: "use gradient checkpointing: recompute activations instead of keeping them, which needs less memory and gives the same result",
  },
  replicas: {
    kind: "whole",
    least: 1,
    most: 1024,
    usual: 1,
    fixed: true,
    group: "replicas",
    help: "replicas of the model that train side by side, each with batches of its own",
  },
  roundSteps: {
    kind: "whole",
    least: 1,
    most: 1e6,
    usual: 100,
    group: "replicas",
    help: "steps that replicas take before they are joined",
  },
  outerRate: {
    kind: "number",
    above: 0,
    usual: 0.7,
    group: "replicas",
    help: "learning rate of the outer step, which joins the replicas",
  },
  outerMomentum: {
    kind: "number",
    least: 0,
    most: 0.9999,
    usual: 0.9,
    group: "replicas",
    help: "Nesterov momentum of the outer step",
  },
  sync: {
    kind: "flag",
    usual: false,
    fixed: true,
    group: "replicas",
    help: "average the replicas' gradients at every step instead: plain data parallelism, for fast networks",
  },
  differences: {
    kind: "choice",
    choices: ["float32", "float16", "int8"],
    usual: "float32",
    fixed: true,
    group: "replicas",
    help: "data type of the replicas' updates; rounding errors carry over to the next round (error feedback)",
  },
  /** Threads that share a batch. Their number affects the last bits of a step. */
  threads: { kind: "whole", least: 1, most: 1024, help: "processor threads" },
} as const satisfies Record<string, TrainingSetting>;

/** The table of training settings. */
export type TrainingTable = typeof trainingSettings;
/** The training settings by name. */
export type TrainingName = keyof TrainingTable;
/** The training settings with a default, which a parsed configuration always has. */
export type DefaultedTraining = {
  [N in TrainingName]: TrainingTable[N] extends { usual: unknown } ? N : never;
}[TrainingName];

/** How a model is trained: optimiser, schedule, masks and batches. */
export type TrainingConfig = { [N in DefaultedTraining]: SettingValue<TrainingTable[N]> } & {
  [N in Exclude<TrainingName, DefaultedTraining>]?: SettingValue<TrainingTable[N]>;
};

export const trainingNames = Object.keys(trainingSettings) as TrainingName[];
/** The row of a setting, typed with all optional fields. */
export const trainingSetting = (name: TrainingName): TrainingSetting => trainingSettings[name];

/** The help of a setting, with its default if neither presets nor recipes choose it. */
export function trainingHelp(name: TrainingName): string {
  const setting = trainingSetting(name);
  const { group, byPreset, usual, help } = setting;
  const told = (group === "when" || group === "replicas") && !byPreset && setting.kind !== "flag";
  return told ? `${help} (default: ${writeSetting(setting, usual as never)})` : help;
}

const schema = z.strictObject(
  Object.fromEntries(
    trainingNames.map((name) => {
      const { usual } = trainingSetting(name);
      const one: z.ZodType = schemaOf(trainingSetting(name));
      return [name, usual === undefined ? one.optional() : one.prefault(usual)];
    }),
  ),
);

/**
 * Parses training settings from a JSON value, with defaults for missing keys; `source` names the value in errors.
 * Throws a `UserError`.
 */
export function parseTrainingConfig(value: unknown, source: string): TrainingConfig {
  const parsed = schema.safeParse(renamed(value));
  if (!parsed.success)
    throw new UserError({ subject: source, problem: explain(parsed.error.issues[0], Object.keys(schema.shape)) });
  return parsed.data as TrainingConfig;
}

/** Runs and files of earlier versions have a `flip` setting, which is now one of the augmentations. */
function renamed(value: unknown): unknown {
  const { flip, ...rest } = (value ?? {}) as { flip?: unknown; augment?: Augmentation[] };
  if (typeof flip !== "boolean") return value;
  return flip ? { ...rest, augment: [...new Set([...(rest.augment ?? []), "flip"])] } : rest;
}

/** The published `blr`: a learning rate for 256 images per step, scaled to the batch. */
export const scaledLearningRate = (base: number, batch: number): number => (base * batch) / 256;

/** The number of steps before the learning rate starts to fall: the warm-up, and for wsd the steps before its decay. */
export function decayBegins({ warmup, schedule, decayShare, steps }: TrainingConfig): number {
  if (schedule === "constant") return Infinity;
  return schedule === "wsd" ? Math.max(warmup, steps - decaySteps({ decayShare, steps }) + 1) : warmup;
}

/**
 * Whether the next step is the first of wsd's decay. Up to here, a longer run would take the same steps. In rounds of
 * `roundSteps`, it is the first round with such a step.
 */
export function isLastStable(step: number, config: TrainingConfig, roundSteps = 1): boolean {
  const last = decayBegins(config);
  return config.schedule === "wsd" && step === last - (last % roundSteps) && step < config.steps;
}

const decaySteps = ({ decayShare, steps }: Pick<TrainingConfig, "decayShare" | "steps">): number =>
  Math.max(1, Math.round(decayShare * steps));

/**
 * The learning rate of a step counted from 0: a linear warm-up, then the schedule (half a cosine, constant, or wsd).
 */
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
