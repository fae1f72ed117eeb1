/** The training loop as a stream of records. Prints nothing and leaves saving to the consumer of the stream. */

import type { ModelConfig } from "../config/model.ts";
import { isLastStable, type TrainingConfig } from "../config/training.ts";
import { type Mistake, UserError } from "../core/errors.ts";
import { isStop } from "../core/stopped.ts";
import { batchSource } from "../data/batches.ts";
import { type Dataset, evenly, type Split } from "../data/dataset.ts";
import { checkDataset } from "../data/fits.ts";
import type { Engine } from "../engine/engine.ts";
import { likelihoods, type LikelihoodSession, likelihoodSession } from "../evaluate/likelihood.ts";
import type { TrainingState } from "./state.ts";
import { deviceLearner } from "./device-learner.ts";
import { hostLearner, type Learner, type NotFinite } from "./learner.ts";
import { type TrainingStep, trainingStep } from "./step.ts";

/** A record of training progress. */
export type TrainingRecord =
  | {
      kind: "step";
      /** Steps done, including this one. */
      step: number;
      loss: number;
      /** Bits per dimension of the values predicted in this step. */
      bits: number;
      gradientNorm: number;
      learningRate: number;
      seconds: number;
    }
  | {
      kind: "evaluation";
      step: number;
      /** Bits per dimension of held-out images, with the null class and averaged weights. */
      bits: number;
      /** Number of held-out images used; the last evaluation uses all. */
      images: number;
    }
  | {
      /** Until the next record is requested, the state is consistent and should be saved. */
      kind: "checkpoint";
      step: number;
    };

/** The end of a round of replicas. */
export interface RoundRecord {
  kind: "round";
  step: number;
  seconds: number;
  /** Bytes that all machines read and wrote in the shared folder. */
  read: number;
  written: number;
}

/** The model to train, its data, and the starting state. */
export interface TrainingRun {
  model: ModelConfig;
  training: TrainingConfig;
  dataset: Dataset;
  /** Updated in place; at a record of a checkpoint it is consistent and can be saved. */
  state: TrainingState;
  /**
   * Computes loss and gradients, for example `parallelTrainingStep`; by default the engine in this thread. Without it, a
   * WebGPU engine keeps the state on its device between checkpoints.
   */
  step?: TrainingStep;
  signal?: AbortSignal;
}

/**
 * Trains from the given `state` until all steps are done or the signal stops it. The consumer saves the state at every
 * `checkpoint` record, which comes every `checkpointSeconds`, before the first step of wsd's decay, at the end, and
 * when the signal stops training. A held-out evaluation precedes it, except in the last case. A NaN ends training with
 * an error.
 */
export async function* train(engine: Engine, run: TrainingRun): AsyncGenerator<TrainingRecord> {
  const { model, training, dataset, state, step: given, signal } = run;
  checkDataset(model, dataset);
  const onDevice = !given && engine.provider === "webgpu";
  const step = onDevice ? undefined : (given ?? (await trainingStep(engine, model, training)));
  let kept = state.step > 0; // a resumed run has a checkpoint
  const learning = {
    ...run,
    onNotFinite: ({ number, loss, gradients = new Map() }: NotFinite) =>
      new UserError(notFinite(number + 1, { loss, saved: kept, tensors: [state.values, gradients] })),
  };
  const learner = step ? await hostLearner(engine, step, learning) : await deviceLearner(engine, learning);
  const keepMemory = !training.checkpointing;
  const session = await likelihoodSession(engine, { config: model, values: state.average }, { keepMemory });
  const batches = batchSource(dataset, training);
  let evaluated = performance.now();
  let saved = performance.now();
  async function* evaluation(split: Split): AsyncGenerator<TrainingRecord> {
    const bits = await bitsOf(engine, run, { split, session, values: await learner.averages() });
    evaluated = performance.now();
    if (bits !== undefined) yield { kind: "evaluation", step: state.step, bits, images: split.count };
  }
  async function* checkpoint(): AsyncGenerator<TrainingRecord> {
    await learner.store();
    yield { kind: "checkpoint", step: state.step };
  }
  const since = (time: number) => (performance.now() - time) / 1000;
  try {
    while (state.step < training.steps && !signal?.aborted) {
      const started = performance.now();
      const number = state.step;
      // A step that is computed elsewhere can be stopped; it then leaves the state as it was.
      const learned = await learner.learn(batches, number).catch((error: unknown) => {
        if (!isStop(error, signal)) throw error;
      });
      if (!learned) break;
      const { loss, bits, gradientNorm, learningRate } = learned;
      state.step = number + 1;
      const seconds = since(started);
      yield { kind: "step", step: state.step, loss, bits, gradientNorm, learningRate, seconds };
      if (state.step === training.steps) {
        yield* evaluation(dataset.heldOut);
        yield* checkpoint();
        return;
      }
      const due = since(saved) >= training.checkpointSeconds;
      const every = (steps: number) => steps > 0 && state.step % steps === 0;
      const keep = every(training.saveSteps) || every(training.kidSteps) || isLastStable(state.step, training);
      // Also evaluate with a checkpoint, unless there was an evaluation recently.
      const late = due && since(evaluated) > training.checkpointSeconds / 2;
      if (every(training.evaluateSteps) || every(training.kidSteps) || late)
        yield* evaluation(evenly(dataset.heldOut, training.evaluateImages));
      if (!due && !keep) continue;
      yield* checkpoint();
      kept = true;
      saved = performance.now();
    }
    if (signal?.aborted) yield* checkpoint();
  } finally {
    if (!given) await step?.dispose();
    await learner.dispose();
    await session.dispose();
  }
}

/**
 * The error for a number that is not finite. Weights are checked first, because a non-finite weight makes every
 * gradient non-finite.
 */
export function notFinite(
  step: number,
  { loss, saved, tensors }: { loss: number; saved: boolean; tensors: readonly ReadonlyMap<string, Float32Array>[] },
): Mistake {
  const [weight, gradient] = tensors.map(
    (values) => [...values].find(([, value]) => !value.every(Number.isFinite))?.[0],
  );
  if (loss === 0)
    return {
      problem: `training stopped at step ${step}: the loss and all gradients are 0, so the device no longer works`,
      hint: saved ? "the last checkpoint is intact, so resume it" : "start again",
    };
  const where = weight ?? (gradient === undefined ? undefined : `the gradient of ${gradient}`);
  return {
    problem: `training stopped at step ${step}: the loss is ${loss}${where === undefined ? "" : ` and ${where} is no longer finite`}`,
    hint: afterNotFinite({ saved }),
  };
}

/** What to do after a number is no longer finite. */
export const afterNotFinite = ({ saved }: { saved: boolean }): string =>
  saved
    ? "the last checkpoint is intact, so resume it with a lower learning rate"
    : "there is no checkpoint yet, so start again with a lower learning rate";

/**
 * Bits per dimension under the averaged weights: the mean of one published estimate per image, with the null class.
 * Returns undefined if the signal stops it.
 */
export async function bitsOf(
  engine: Engine,
  { model, training, signal }: Pick<TrainingRun, "model" | "training" | "signal">,
  {
    split,
    session,
    values,
  }: { split: Split; session: LikelihoodSession; values: Awaited<ReturnType<Learner["averages"]>> },
): Promise<number | undefined> {
  const { seed, microBatch: batch } = training;
  const averaged = { config: model, values };
  let sum = 0;
  for await (const { bits } of likelihoods(engine, averaged, split, { seed, batch, session })) {
    if (signal?.aborted) return undefined;
    sum += bits;
  }
  return sum / split.count;
}
