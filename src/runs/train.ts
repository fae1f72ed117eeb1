/** A training run into its folder: training with everything that a run keeps. Prints nothing. */

import type { Dataset } from "../data/dataset.ts";
import type { ReferencePoint } from "../data/references.ts";
import type { Engine } from "../engine/engine.ts";
import type { Ownership } from "../files/ownership.ts";
import { train } from "../train/trainer.ts";
import { parallelTrainingStep } from "../workers/training.ts";
import { openRun } from "./folder.ts";
import type { LogRecord } from "./log.ts";
import { type OnlineQuality, openOnlineQuality } from "./quality.ts";
import type { Prepared } from "./settle.ts";

/** How a run reports progress and is stopped. */
export interface RunContext {
  /** The run's folder, and the caller's claim to it. */
  out: string;
  owned: Ownership;
  dataset: Dataset;
  /** Where feature networks are kept, and which one measures samples where `kidSteps` asks for that. */
  cache: string;
  features?: string;
  /** Draw a grid at each checkpoint (the default). */
  samples?: boolean;
  /** Is told, as a line, how far the work between records is. */
  onProgress?: (line: string) => void;
  /** Is told when all is ready for the first step. From then on a stop saves; before it a stop throws. */
  onReady?: (references: readonly ReferencePoint[]) => void;
  /** Is given every record of the log once it is written. */
  onRecord?: (record: LogRecord) => void;
  signal?: AbortSignal;
}

/**
 * Trains a prepared run into its folder: checkpoints in `last/`, the log, curve, grids of samples and TensorBoard events.
 * Gives what training tells and how samples are measured, until the steps are done or the signal stops it, with a
 * checkpoint. `prepared.state` is changed in place.
 */
export async function* trainRun(
  engine: Engine,
  prepared: Prepared,
  { out, owned, samples = true, onReady, onRecord, ...context }: RunContext,
): AsyncGenerator<LogRecord> {
  const { model, training } = prepared;
  const { onProgress, signal, dataset } = context;
  onProgress?.("building the graphs of the model and its gradients");
  const step = await parallelTrainingStep(model, { ...training, provider: engine.provider });
  let quality: OnlineQuality | undefined;
  let close = async () => {};
  try {
    if (training.kidSteps > 0) quality = await openOnlineQuality(engine, { ...context, training });
    const onReferences = (at: number, total: number) =>
      onProgress?.(`reference points: PNG and WebP of the held-out images: ${at} of ${total}`);
    const folder = { ...prepared, dataset, owned, samples, quality, onRecord, onReferences, signal };
    const run = await openRun(out, engine, folder);
    close = () => run.close();
    onReady?.(run.references);
    for await (const record of train(engine, { ...prepared, dataset, step, signal })) {
      const measured = await run.add(record);
      yield measured ?? record;
    }
  } finally {
    await close();
    await quality?.close();
    await step.dispose();
  }
}
