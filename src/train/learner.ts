/** Applies training steps to a state on the host: the gradients, the optimiser and the moving average. */

import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import type { Value } from "../core/arrays.ts";
import type { Engine } from "../engine/engine.ts";
import type { Batch } from "../model/plan.ts";
import type { TrainingState } from "./state.ts";
import { gradientsOf, update } from "./one-step.ts";
import { openOptimizer } from "./optimizer.ts";
import type { StepResult, TrainingStep } from "./step.ts";

/** The result of a step. */
export interface Learned extends StepResult {
  gradientNorm: number;
  learningRate: number;
}

/** Changes a training state step by step. Implementations hold it on the host or on a device. */
export interface Learner {
  /**
   * Learns batch `number`, which counts from 0. Does not change `state.step`. If a number is not finite, throws what
   * `onNotFinite` returns, and the state on the host stays as it was.
   */
  learn(batches: (number: number) => Batch, number: number): Promise<Learned>;
  /** The averaged weights, or without an average the weights, where they are; valid until the next step. */
  averages(): Promise<ReadonlyMap<string, Float32Array | Value>>;
  /** Writes the current values into the state, if they are not there. */
  store(): Promise<void>;
  dispose(): Promise<void>;
}

/** A step whose loss or gradients are not finite; the gradients only if they are on the host. */
export interface NotFinite {
  number: number;
  loss: number;
  gradients?: ReadonlyMap<string, Float32Array>;
}

/** The state that a learner changes, and its settings. */
export interface Learning {
  model: ModelConfig;
  training: TrainingConfig;
  state: TrainingState;
  onNotFinite: (found: NotFinite) => Error;
}

/** Learns with gradients from `step`. */
export async function hostLearner(
  engine: Engine,
  step: TrainingStep,
  { model, training, state, onNotFinite }: Learning,
): Promise<Learner> {
  const optimizer = await openOptimizer(engine, model, training);
  const { gradients } = step;
  return {
    async learn(batches, number) {
      const { loss, bits } = await gradientsOf(step, state.values, batches, { training, number });
      const settings = { training, number, onNotFinite: () => onNotFinite({ number, loss, gradients }) };
      const done = await update(optimizer, state, { gradients, loss }, settings);
      if (training.ema > 0) updateAverage(state, averageDecay(training.ema, number));
      return { loss, bits, ...done };
    },
    averages: async () => state.average,
    async store() {},
    dispose: () => optimizer.dispose(),
  };
}

/** Early steps have more weight, so that the average soon forgets the random initial weights. */
export const averageDecay = (decay: number, step: number): number => Math.min(decay, (1 + step) / (10 + step));

/** Moves the average towards the values, in place. */
function updateAverage({ values, average }: TrainingState, decay: number): void {
  for (const [name, value] of values) {
    const follows = average.get(name)!;
    for (let i = 0; i < follows.length; i++) follows[i] += (1 - decay) * (value[i] - follows[i]);
  }
}
