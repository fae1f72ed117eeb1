/** How a model is trained: the published trainer's settings, with steps for epochs. */

import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { explain } from "./model.ts";

/** Ways to vary images from step to step: by a pixel, left and right, in colour. */
export const augmentations = ["shift", "flip", "hue"] as const;
export type Augmentation = (typeof augmentations)[number];

const rate = z.number().min(0).max(1);

const schema = z.strictObject({
  steps: z.int().min(1).default(4000),
  /** Images per step: the published batch per GPU times GPUs times accumulated steps. */
  batch: z.int().min(1).default(32),
  /** Images per run of the graph, whose gradients are accumulated; the result does not depend on it. */
  microBatch: z.int().min(1).default(8),
  /** Compute what the gradients need a second time instead of keeping it; the result does not depend on it. */
  checkpointing: z.boolean().default(false),
  /** Threads that share a batch: the last bits of a step depend on how many. */
  threads: z.int().min(1).optional(),
  learningRate: z.number().positive().default(1e-3),
  minLearningRate: z.number().min(0).default(0),
  warmup: z.int().min(0).default(200),
  /** After the warm-up: half a cosine; constant; or constant and then a linear decay over the last `decayShare`. */
  schedule: z.enum(["cosine", "constant", "wsd"]).default("cosine"),
  decayShare: rate.default(0.3),
  /** muon: the matrices inside blocks take orthogonalised momentum (train/muon.ts), everything else AdamW. */
  optimizer: z.enum(["adamw", "muon"]).default("adamw"),
  muonMomentum: z.number().min(0).max(0.9999).default(0.95),
  /** Learning rates of groups of parameters, as multiples of `learningRate`. */
  rates: z
    .strictObject({
      /** Matrices inside blocks. */
      blocks: z.number().min(0).default(1),
      /** The byte codebooks of the pixel level. */
      codebooks: z.number().min(0).default(1),
      /** Embeddings of classes, patches, conditions and positions. */
      embeddings: z.number().min(0).default(1),
    })
    .prefault({}),
  /** How the byte codebooks start: random rows as published, or cosines, which make neighbouring values alike. */
  codebookStart: z.enum(["normal", "cosine"]).default("normal"),
  /** How the last matrix of each residual branch starts: as published (xavier), or at zero. */
  residualStart: z.enum(["xavier", "zero"]).default("xavier"),
  /** Share of the predicted patches that go down from each level, from the first on; levels not listed hand on all. */
  innerShare: z.array(z.number().positive().max(1)).default([]),
  weightDecay: z.number().min(0).default(0.05),
  betas: z.tuple([rate, rate]).default([0.9, 0.95]),
  eps: z.number().positive().default(1e-8),
  /** The norm that gradients are clipped to. */
  clip: z.number().positive().default(3),
  labelDrop: rate.default(0.1),
  /** Share of a MAR level's patches that are masked: a normal distribution cut to [0, 1], drawn for each square. */
  maskRate: rate.default(1),
  maskRateDeviation: z.number().positive().max(10).default(0.25),
  attentionDropout: z.number().min(0).max(0.99).default(0),
  projectionDropout: z.number().min(0).max(0.99).default(0),
  /** Decay of the moving average of the weights; 0 for none. */
  ema: z.number().min(0).max(0.999999).default(0.999),
  /** How images are varied, where a class allows it. */
  augment: z.array(z.enum(augmentations)).default([]),
  /** 0: every image alike; 1: every class alike; between: classes by their size to the power 1 - balance. */
  balance: rate.default(0),
  seed: z.int().min(0).default(0),
  /** Seconds between checkpoints. */
  checkpointSeconds: z.number().positive().default(300),
  /** Steps between checkpoints that are kept; 0 for none. */
  saveSteps: z.int().min(0).default(0),
  /** Steps between held-out likelihoods. */
  evaluateSteps: z.int().min(1).default(200),
  /** The most held-out images that these take, evenly spaced; the last one takes all. */
  evaluateImages: z.int().min(1).default(256),
  /** Steps between KIDs of samples, each with a checkpoint; 0 for none. */
  kidSteps: z.int().min(0).default(0),
  /** Images that are drawn for one. */
  kidImages: z.int().min(2).max(100_000).default(256),
});

export type TrainingConfig = z.infer<typeof schema>;

export function parseTrainingConfig(value: unknown, source: string): TrainingConfig {
  const parsed = schema.safeParse(renamed(value));
  if (!parsed.success) throw new UserError(`${source}: ${explain(parsed.error.issues[0], Object.keys(schema.shape))}`);
  return parsed.data;
}

/** Runs and files of earlier versions say `flip`, which is now one of the ways to augment. */
function renamed(value: unknown): unknown {
  const { flip, ...rest } = (value ?? {}) as { flip?: unknown; augment?: Augmentation[] };
  if (typeof flip !== "boolean") return value;
  return flip ? { ...rest, augment: [...new Set([...(rest.augment ?? []), "flip"])] } : rest;
}

/** The published `blr`: a learning rate for 256 images a step, scaled to the batch. */
export const scaledLearningRate = (base: number, batch: number): number => (base * batch) / 256;

/** The rate of a step counted from 0: a linear warm-up, then half a cosine down to the least rate, or constant. */
export function learningRateAt(step: number, config: TrainingConfig): number {
  const { learningRate, minLearningRate, warmup, schedule, decayShare, steps } = config;
  if (step < warmup) return (learningRate * (step + 1)) / warmup;
  if (schedule === "constant") return learningRate;
  if (schedule === "wsd") {
    const left = Math.min(1, (steps - step) / Math.max(1, Math.round(decayShare * steps)));
    return minLearningRate + (learningRate - minLearningRate) * left;
  }
  const done = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return minLearningRate + (learningRate - minLearningRate) * 0.5 * (1 + Math.cos(Math.PI * done));
}
