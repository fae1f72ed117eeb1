/** The folder of a training run: checkpoints, log, learning curve, sample grids and TensorBoard events. */

import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { isLastStable, type TrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import { type ReferencePoint, referencePoints } from "../data/references.ts";
import type { Engine } from "../engine/engine.ts";
import { removeStrays, replaceFolder, writeFileAtomic } from "../files/atomic.ts";
import { syncFile } from "../files/disk.ts";
import { writeModelFolder } from "../files/model.ts";
import type { Ownership } from "../files/ownership.ts";
import { openEvents } from "../files/tensorboard.ts";
import { type DataRecord, saveCheckpoint } from "../train/checkpoint.ts";
import type { TrainingState } from "../train/state.ts";
import { afterNotFinite, type RoundRecord, type TrainingRecord } from "../train/trainer.ts";
import { kernelName, type OnlineQuality, type QualityRecord } from "./quality.ts";
import { addEvents, curveOf } from "./record-views.ts";
import { stableName } from "./prolong.ts";
import { sampleGrid } from "./samples.ts";
import { appendRecord, type LogRecord, readLog, trimLog } from "./log.ts";

export interface FolderOptions {
  model: ModelConfig;
  training: TrainingConfig;
  state: TrainingState;
  data: DataRecord;
  dataset: Dataset;
  /** The caller's lock on the folder. */
  owned: Ownership;
  /** Draw a grid at each checkpoint. */
  samples: boolean;
  /** Measures samples every `kidSteps` steps. */
  quality?: OnlineQuality;
  /** Called with every record of the log, including training records. */
  onRecord?: (record: LogRecord) => void;
  /** Called with the number of files compressed for the reference points, and the total. */
  onReferences?: (done: number, total: number) => void;
  /** Steps between two moments at which the state can be saved, if not every step is one. */
  roundSteps?: number;
  signal?: AbortSignal;
}

export interface Run {
  /** Bits per dimension of simple compression methods on the data. */
  references: readonly ReferencePoint[];
  /**
   * Writes a training record. At a checkpoint it also saves the state and the curve and, unless the run is stopping, draws a
   * sample grid and measures samples. Returns that measurement, if any.
   */
  add(record: TrainingRecord | RoundRecord): Promise<QualityRecord | undefined>;
  close(): Promise<void>;
}

/** Opens the folder of a new run, or of one that resumes from `state.step`. Throws if stopped before the folder is open. */
export async function openRun(out: string, engine: Engine, options: FolderOptions): Promise<Run> {
  const { model, training, state, data, dataset, owned, samples, quality, onRecord, onReferences, signal } = options;
  signal?.throwIfAborted();
  for (const folder of [out, join(out, "samples")]) await removeStrays(folder, owned);
  const log = join(out, "log.jsonl");
  // A run that ended before its first checkpoint may have used other images.
  if (state.step === 0) await rm(log, { force: true });
  else await trimLog(log, state);
  const records: LogRecord[] = readLog(log);
  const write = async (record: LogRecord) => {
    await appendRecord(log, record);
    records.push(record);
    onRecord?.(record);
  };
  let references = records.find((record) => record.kind === "references")?.references;
  if (!references) {
    references = await referencePoints(dataset, { onProgress: onReferences, signal });
    await write({ kind: "references", step: 0, references });
  }
  const events = await openEvents(out, state.step > 0 ? { step: state.step } : {});

  const due = () =>
    !signal?.aborted &&
    training.kidSteps > 0 &&
    (state.step % training.kidSteps === 0 || state.step === training.steps);
  const drawCurve = () =>
    writeFileAtomic(join(out, "curve.svg"), curveOf(records, { references: references!, training }));

  const save = (folder: string) => saveCheckpoint(folder, { model, training, dataset: data, state, owned });
  // New settings may start the decay at the current step.
  if (isLastStable(state.step, training, options.roundSteps)) await save(join(out, stableName));

  async function checkpoint(): Promise<QualityRecord | undefined> {
    const folder = join(out, "last");
    checkFinite(state, { saved: existsSync(folder) });
    // The log must be as durable as the checkpoint that it describes.
    await syncFile(log);
    // Save the permanent checkpoints before `last`: a resumed run does not repeat the steps before `last`.
    if (training.saveSteps > 0 && state.step % training.saveSteps === 0)
      await replaceFolder(
        join(out, named(state.step)),
        (temporary) => writeModelFolder(temporary, model, state.average),
        { owned },
      );
    if (isLastStable(state.step, training, options.roundSteps)) await save(join(out, stableName));
    await save(folder);
    await drawCurve();
    const png = samples && (await sampleGrid(engine, folder, { signal }));
    if (png) {
      for (const name of [named(state.step), "latest"]) await writeFileAtomic(join(out, "samples", `${name}.png`), png);
      await events.image(state.step, "samples", png);
    }
    const measured = due() ? await quality?.measure(folder, state.step) : undefined;
    if (!measured) return undefined;
    await write(measured);
    await events.scalars(state.step, { [`samples/${kernelName(measured)}`]: measured.kernelDistance.mean });
    await drawCurve();
    return measured;
  }

  return {
    references,
    async add(record) {
      await write(record);
      if (record.kind !== "round") await addEvents(events, record, training);
      return record.kind === "checkpoint" ? checkpoint() : undefined;
    },
    close: () => events.close(),
  };
}

const named = (step: number): string => `step-${String(step).padStart(6, "0")}`;

/** Throws if a parameter is not finite, so that it cannot overwrite a good checkpoint. */
function checkFinite({ step, values }: TrainingState, { saved }: { saved: boolean }): void {
  for (const [name, value] of values)
    if (!value.every(Number.isFinite))
      throw new UserError({
        problem: `training stopped at step ${step}: ${name} is no longer finite`,
        hint: afterNotFinite({ saved }),
      });
}
