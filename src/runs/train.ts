/** Runs training and writes everything that a run keeps into its folder. Prints nothing. */

import type { Dataset } from "../data/dataset.ts";
import type { ReferencePoint } from "../data/references.ts";
import type { Engine } from "../engine/engine.ts";
import type { Ownership } from "../files/ownership.ts";
import type { TrainingStep } from "../train/step.ts";
import { type RoundRecord, train, type TrainingRecord, type TrainingRun } from "../train/trainer.ts";
import { parallelTrainingStep } from "../workers/training.ts";
import { openRun } from "./folder.ts";
import type { LogRecord } from "./log.ts";
import { type OnlineQuality, openOnlineQuality } from "./quality.ts";
import type { Prepared } from "./settle.ts";

/** How a run reports progress and is stopped. */
export interface RunContext {
  /** The run's folder, and the caller's lock on it. */
  out: string;
  owned: Ownership;
  dataset: Dataset;
  /** Where feature networks are cached, and which one measures samples every `kidSteps` steps. */
  cache: string;
  features?: string;
  /** Draw a grid at each checkpoint (the default). */
  samples?: boolean;
  /** Called with a progress line during the work between records. */
  onProgress?: (line: string) => void;
  /** Called when everything is ready for the first step. From then on a stop saves a checkpoint; before, it throws. */
  onReady?: (references: readonly ReferencePoint[]) => void;
  /** Called with every record of the log after it is written. */
  onRecord?: (record: LogRecord) => void;
  signal?: AbortSignal;
  /** Training on other machines or in replicas: another step, or another loop. By default this machine's threads. */
  elsewhere?: {
    /** Computes loss and gradients. */
    step?: TrainingStep;
    /** Trains in place of `train`. */
    train?(engine: Engine, run: TrainingRun): AsyncGenerator<TrainingRecord | RoundRecord>;
  };
}

/**
 * Trains a prepared run into its folder: checkpoints in `last/`, the log, the curve, sample grids and TensorBoard events.
 * Yields training and quality records until all steps are done, or until the signal stops it, which saves a checkpoint.
 * Updates `prepared.state` in place.
 */
export async function* trainRun(
  engine: Engine,
  prepared: Prepared,
  { out, owned, samples = true, onReady, onRecord, elsewhere, ...context }: RunContext,
): AsyncGenerator<LogRecord> {
  const { model, training } = prepared;
  const { onProgress, signal, dataset } = context;
  onProgress?.("building the graphs of the model and its gradients");
  // On WebGPU, the trainer keeps the state on the device.
  const without = elsewhere?.train !== undefined || engine.provider === "webgpu";
  const step =
    elsewhere?.step ??
    (without ? undefined : await parallelTrainingStep(model, { ...training, provider: engine.provider }));
  let quality: OnlineQuality | undefined;
  let close = async () => {};
  try {
    if (training.kidSteps > 0) quality = await openOnlineQuality(engine, { ...context, training });
    const onReferences = (at: number, total: number) =>
      onProgress?.(`reference points: PNG and WebP of the held-out images: ${at} of ${total}`);
    const roundSteps = elsewhere?.train && training.roundSteps;
    const folder = { ...prepared, dataset, owned, samples, quality, onRecord, onReferences, roundSteps, signal };
    const run = await openRun(out, engine, folder);
    close = () => run.close();
    onReady?.(run.references);
    for await (const record of (elsewhere?.train ?? train)(engine, { ...prepared, dataset, step, signal })) {
      const measured = await run.add(record);
      yield measured ?? record;
    }
  } finally {
    await close();
    await quality?.close();
    await step?.dispose();
  }
}
