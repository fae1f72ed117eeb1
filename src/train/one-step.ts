/** The two halves of an optimiser step: loss and gradients of a numbered batch, and the update. */

import { learningRateAt, type TrainingConfig } from "../config/training.ts";
import { clipScale, globalNorm } from "../core/adamw.ts";
import type { Batch } from "../model/plan.ts";
import { dropoutSeed, trainingMasks } from "./batches.ts";
import type { Optimizer } from "./optimizer.ts";
import type { OptimizerState } from "./optimizer-step.ts";
import { trainingShare } from "./share.ts";
import type { StepOptions, StepResult, TrainingStep } from "./step.ts";

/** Computes loss and gradients of batch `number`, with the random draws that belong to it. */
export const gradientsOf = (
  step: TrainingStep,
  values: ReadonlyMap<string, Float32Array>,
  batches: (number: number) => Batch,
  { training, number }: { training: TrainingConfig; number: number },
): Promise<StepResult> => step.run(values, batches(number), stepOptions(training, number));

/** The draws and the micro-batch of step `number`, which counts from 0. */
export const stepOptions = (training: TrainingConfig, number: number): StepOptions => ({
  number,
  masks: trainingMasks(training.seed, number, training),
  share: trainingShare(training, number),
  seed: dropoutSeed(training.seed, number),
  microBatch: training.microBatch,
});

/**
 * Updates the state in place by clipped gradients, as step `number` (from 0). Returns their norm, or throws what
 * `onNotFinite` returns, before any change, if the loss or the norm is not a finite number.
 */
export async function update(
  optimizer: Optimizer,
  state: OptimizerState,
  { gradients, loss }: Pick<TrainingStep, "gradients"> & Pick<StepResult, "loss">,
  { training, number, onNotFinite }: { training: TrainingConfig; number: number; onNotFinite: () => Error },
): Promise<{ gradientNorm: number; learningRate: number }> {
  const gradientNorm = globalNorm(gradients.values());
  if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) throw onNotFinite();
  const learningRate = learningRateAt(number, training);
  const scale = clipScale(gradientNorm, training.clip);
  await optimizer.update(state, gradients, { step: number + 1, learningRate, scale });
  return { gradientNorm, learningRate };
}
