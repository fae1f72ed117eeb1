/** How a model is trained: the published trainer's settings, with steps for epochs. */

import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { explain } from "./model.ts";

const rate = z.number().min(0).max(1);

const schema = z.strictObject({
  steps: z.int().min(1).default(4000),
  batch: z.int().min(1).default(32),
  /** Images per run of the graph; the result does not depend on it. */
  microBatch: z.int().min(1).default(8),
  learningRate: z.number().positive().default(1e-3),
  minLearningRate: z.number().min(0).default(0),
  warmup: z.int().min(0).default(200),
  schedule: z.enum(["cosine", "constant"]).default("cosine"),
  weightDecay: z.number().min(0).default(0.05),
  betas: z.tuple([rate, rate]).default([0.9, 0.95]),
  eps: z.number().positive().default(1e-8),
  clip: z.number().positive().default(3),
  labelDrop: rate.default(0.1),
  attentionDropout: z.number().min(0).max(0.99).default(0),
  projectionDropout: z.number().min(0).max(0.99).default(0),
  /** Decay of the moving average of the weights; 0 for none. */
  ema: z.number().min(0).max(0.999999).default(0.999),
  flip: z.boolean().default(false),
  /** 0: every image alike; 1: every class alike; between: classes by their size to the power 1 - balance. */
  balance: rate.default(0),
  seed: z.int().min(0).default(0),
  /** Seconds between checkpoints. */
  checkpointSeconds: z.number().positive().default(300),
  /** Steps between held-out likelihoods. */
  evaluateSteps: z.int().min(1).default(200),
});

export type TrainingConfig = z.infer<typeof schema>;

export function parseTrainingConfig(value: unknown, source: string): TrainingConfig {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new UserError(`${source}: ${explain(parsed.error.issues[0])}`);
  return parsed.data;
}

/** The rate of a step counted from 0: a linear warm-up, then half a cosine down to the least rate, or constant. */
export function learningRateAt(step: number, config: TrainingConfig): number {
  const { learningRate, minLearningRate, warmup, schedule, steps } = config;
  if (step < warmup) return (learningRate * (step + 1)) / warmup;
  if (schedule === "constant") return learningRate;
  const done = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return minLearningRate + (learningRate - minLearningRate) * 0.5 * (1 + Math.cos(Math.PI * done));
}
