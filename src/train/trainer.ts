/** The training loop as a stream of records. Prints nothing, and leaves saving to whoever reads the stream. */

import type { ModelConfig } from "../config/model.ts";
import { isLastStable, learningRateAt, type TrainingConfig } from "../config/training.ts";
import { clipScale, globalNorm } from "../core/adamw.ts";
import { UserError } from "../core/errors.ts";
import { batchSource } from "../data/batches.ts";
import { type Dataset, evenly, type Split } from "../data/dataset.ts";
import { checkDataset } from "../data/fits.ts";
import type { Engine } from "../engine/engine.ts";
import { likelihoods, type LikelihoodSession, likelihoodSession } from "../evaluate/likelihood.ts";
import { dropoutSeed, trainingMasks, trainingShare } from "./batches.ts";
import type { TrainingState } from "./checkpoint.ts";
import { openOptimizer } from "./optimizer.ts";
import { type TrainingStep, trainingStep } from "./step.ts";

/** What happened in training. */
export type TrainingRecord =
  | {
      kind: "step";
      /** Steps done, this one included. */
      step: number;
      loss: number;
      /** Bits per dimension of what this step predicted. */
      bits: number;
      gradientNorm: number;
      learningRate: number;
      seconds: number;
    }
  | {
      kind: "evaluation";
      step: number;
      /** Held-out bits per dimension, null class, averaged weights. */
      bits: number;
      /** Held-out images that were taken; the last evaluation takes all. */
      images: number;
    }
  | {
      /** Between this record and the next the state is whole and should be saved. */
      kind: "checkpoint";
      step: number;
    };

/** What is trained, on what, and from where. */
export interface TrainingRun {
  model: ModelConfig;
  training: TrainingConfig;
  dataset: Dataset;
  /** Changed in place; between two records it is whole and can be saved. */
  state: TrainingState;
  /** What computes loss and gradients, such as `parallelTrainingStep`; by default the engine in this thread. */
  step?: TrainingStep;
  signal?: AbortSignal;
}

/**
 * Trains until the steps are done or the signal stops it, from wherever `state` is. Whoever reads the records saves the
 * state at a `checkpoint`, which comes every `checkpointSeconds`, where wsd begins to decay, at the end and when the signal
 * stops it; a held-out likelihood comes before it but for that last case. A NaN ends it with an error.
 */
export async function* train(engine: Engine, run: TrainingRun): AsyncGenerator<TrainingRecord> {
  const { model, training, dataset, state, step: given, signal } = run;
  checkDataset(model, dataset);
  const step = given ?? (await trainingStep(engine, model, training));
  const keepMemory = !training.checkpointing;
  const session = await likelihoodSession(engine, { config: model, values: state.average }, { keepMemory });
  const batches = batchSource(dataset, training);
  const optimizer = await openOptimizer(engine, model, training);
  let evaluated = performance.now();
  let saved = performance.now();
  let kept = state.step > 0; // a run that goes on has a checkpoint
  async function* evaluation(split: Split): AsyncGenerator<TrainingRecord> {
    const bits = await bitsOf(engine, run, { split, session });
    evaluated = performance.now();
    if (bits !== undefined) yield { kind: "evaluation", step: state.step, bits, images: split.count };
  }
  const since = (time: number) => (performance.now() - time) / 1000;
  try {
    while (state.step < training.steps && !signal?.aborted) {
      const started = performance.now();
      const number = state.step;
      const { loss, bits } = await step.run(state.values, batches(number), {
        masks: trainingMasks(training.seed, number, training),
        share: trainingShare(training.seed, number, training.innerShare),
        seed: dropoutSeed(training.seed, number),
        microBatch: training.microBatch,
      });
      const gradientNorm = globalNorm(step.gradients.values());
      if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
        throw new UserError(notFinite(number + 1, { loss, saved: kept, tensors: [state.values, step.gradients] }));
      const learningRate = learningRateAt(number, training);
      const scale = clipScale(gradientNorm, training.clip);
      await optimizer.update(state, step.gradients, { step: number + 1, learningRate, scale });
      if (training.ema > 0) follow(state, averageDecay(training.ema, number));
      state.step = number + 1;
      const seconds = since(started);
      yield { kind: "step", step: state.step, loss, bits, gradientNorm, learningRate, seconds };
      if (state.step === training.steps) {
        yield* evaluation(dataset.heldOut);
        yield { kind: "checkpoint", step: state.step };
        return;
      }
      const due = since(saved) >= training.checkpointSeconds;
      const every = (steps: number) => steps > 0 && state.step % steps === 0;
      const keep = every(training.saveSteps) || every(training.kidSteps) || isLastStable(state.step, training);
      // With a checkpoint too, unless there has just been one.
      const late = due && since(evaluated) > training.checkpointSeconds / 2;
      if (every(training.evaluateSteps) || every(training.kidSteps) || late)
        yield* evaluation(evenly(dataset.heldOut, training.evaluateImages));
      if (!due && !keep) continue;
      yield { kind: "checkpoint", step: state.step };
      kept = true;
      saved = performance.now();
    }
    if (signal?.aborted) yield { kind: "checkpoint", step: state.step };
  } finally {
    if (!given) await step.dispose();
    await optimizer.dispose();
    await session.dispose();
  }
}

/** Early steps weigh more, so that the average soon forgets the random start. */
const averageDecay = (decay: number, step: number): number => Math.min(decay, (1 + step) / (10 + step));

/** Moves the average towards the values, in place. */
function follow({ values, average }: TrainingState, decay: number): void {
  for (const [name, value] of values) {
    const follows = average.get(name)!;
    for (let i = 0; i < follows.length; i++) follows[i] += (1 - decay) * (value[i] - follows[i]);
  }
}

/** Weights are looked at first: one that is not finite makes every gradient so. */
function notFinite(
  step: number,
  { loss, saved, tensors }: { loss: number; saved: boolean; tensors: readonly ReadonlyMap<string, Float32Array>[] },
): string {
  const [weight, gradient] = tensors.map(
    (values) => [...values].find(([, value]) => !value.every(Number.isFinite))?.[0],
  );
  const where = weight ?? (gradient === undefined ? undefined : `the gradient of ${gradient}`);
  return `training stopped at step ${step}: the loss is ${loss}${where === undefined ? "" : ` and ${where} is no longer finite`}; ${afterNotFinite({ saved })}`;
}

/** What to do once a number is no longer finite. */
export const afterNotFinite = ({ saved }: { saved: boolean }): string =>
  saved
    ? "the last checkpoint is untouched, resume it with a lower learning rate"
    : "there is no checkpoint yet, start again with a lower learning rate";

/**
 * Bits per dimension of the averaged weights: the mean of one published estimate of each image, with the null class.
 * Nothing where the signal stops it.
 */
async function bitsOf(
  engine: Engine,
  { model, training, state, signal }: TrainingRun,
  { split, session }: { split: Split; session: LikelihoodSession },
): Promise<number | undefined> {
  const { seed, microBatch: batch } = training;
  const averaged = { config: model, values: state.average };
  let sum = 0;
  for await (const { bits } of likelihoods(engine, averaged, split, { seed, batch, session })) {
    if (signal?.aborted) return undefined;
    sum += bits;
  }
  return sum / split.count;
}
