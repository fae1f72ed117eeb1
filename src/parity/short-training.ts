/** Short trainings of small models, to compare devices. */

import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import type { Engine } from "../engine/engine.ts";
import { startingState } from "../train/state.ts";
import { tinyDataset, tinyModel } from "../train/tiny.ts";
import { train } from "../train/trainer.ts";

export interface ShortTraining {
  /** Loss and gradient norm of every step. */
  losses: number[];
  norms: number[];
  /** Bits per dimension of held-out images under the average of the weights after the last step. */
  heldOut?: number;
  /** Sums of the absolute values of the final weights, by name. */
  weights: Record<string, number>;
  /** After the last step, in float16. */
  lossScale?: number;
}

const common = { batch: 4, microBatch: 2, warmup: 0, learningRate: 1e-3, seed: 3 } as const;
const levels = (kind: "mar" | "ar") => [
  { kind, patch: 4, width: 16, depth: 1, heads: 2 },
  { kind, patch: 1, width: 16, depth: 1, heads: 2 },
  { kind: "pixel" as const, width: 16, depth: 1, heads: 2 },
];
const model = (kind: "mar" | "ar"): ModelConfig =>
  parseModelConfig({ imageSize: 8, classes: ["dark", "light"], levels: levels(kind) }, "the test");

/** Each kind of level, both optimisers, gradients of several micro-batches, and checkpoints of the forward pass. */
const cases: Record<string, { model: () => ModelConfig; training: Partial<TrainingConfig> }> = {
  mar: { model: () => model("mar"), training: { optimizer: "muon", microBatch: 4 } },
  ar: { model: () => model("ar"), training: { microBatch: 4, innerShare: [0.5] } },
  guided: { model: () => tinyModel({ guidingPixel: true }), training: { checkpointing: true, ema: 0.99 } },
};

/** Trains the model of a kind for this many steps on an engine. */
export async function shortTraining(engine: Engine, kind: string, steps: number): Promise<ShortTraining> {
  const result: ShortTraining = { losses: [], norms: [], weights: {} };
  const config = cases[kind].model();
  const training = parseTrainingConfig({ ...common, ...cases[kind].training, steps }, "the test");
  const state = startingState(config, 1, training);
  for await (const record of train(engine, { model: config, training, dataset: tinyDataset(), state })) {
    if (record.kind === "evaluation") result.heldOut = record.bits;
    if (record.kind !== "step") continue;
    result.losses.push(record.loss);
    result.norms.push(record.gradientNorm);
  }
  for (const [name, value] of state.values) result.weights[name] = value.reduce((sum, x) => sum + Math.abs(x), 0);
  return { ...result, lossScale: state.lossScale };
}
