/**
 * Checkpoints, which hold everything needed to resume training: weights, their average, the optimiser's moments and the
 * step, in one folder.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import type { Dataset } from "../data/dataset.ts";
import type { ContentOptions } from "../data/open.ts";
import { readFolder, replaceFolder } from "../files/atomic.ts";
import { checkFinite } from "../files/finite.ts";
import type { Ownership } from "../files/ownership.ts";
import { readJson, readModelFolder, writeModelFolder } from "../files/model.ts";
import { readSafetensors, readTensor } from "../files/safetensors.ts";
import { optimizerName, stateName, writeTrainingFiles } from "../files/training-state.ts";
import { modelParameters } from "../model/parameters.ts";
import { isLossScale } from "./loss-scale.ts";
import { momentsOf } from "./optimizer.ts";
import type { TrainingState } from "./state.ts";

/** The data set of a run, so that a resumed run can open it again and check that it has not changed. */
export interface DataRecord extends ContentOptions {
  /** `emoji`, or the path of a folder or file. */
  source: string;
  /** The opened data set; missing in runs of earlier versions. */
  fingerprint?: string;
  train?: number;
  heldOutCount?: number;
}

/** The record of a data set in a checkpoint. */
export const dataRecord = (
  { source, fingerprint, train, heldOut }: Dataset,
  opening: ContentOptions = {},
): DataRecord => ({
  ...opening,
  source,
  fingerprint,
  train: train.count,
  heldOutCount: heldOut.count,
});

/** The content of a checkpoint to write. */
export interface Saved {
  model: ModelConfig;
  training: TrainingConfig;
  dataset: DataRecord;
  state: TrainingState;
  /** The caller's claim on the run; by default the folder is claimed while it is written. */
  owned?: Ownership;
}

/** Writes a checkpoint folder atomically. Its `model.safetensors` contains the average, ready for sampling. */
export async function saveCheckpoint(folder: string, { model, training, dataset, state, owned }: Saved): Promise<void> {
  await replaceFolder(
    folder,
    async (temporary) => {
      await writeModelFolder(temporary, model, state.average);
      await writeTrainingFiles(temporary, model, {
        step: state.step,
        dataset,
        training,
        lossScale: state.lossScale,
        values: (part, name) => (part === "value" ? state.values.get(name)! : state.moments.get(name)![part]),
      });
    },
    { owned },
  );
}

/** A loaded checkpoint. */
export interface Resumed {
  model: ModelConfig;
  training: TrainingConfig;
  dataset: DataRecord;
  state: TrainingState;
}

const damaged = "the checkpoint is damaged, so restore it from a copy";

/** Reads a checkpoint written by saveCheckpoint. Throws a UserError if there is none, or if it is damaged. */
export const loadCheckpoint = (folder: string): Promise<Resumed> => readFolder(folder, () => readCheckpoint(folder));

function readCheckpoint(folder: string): Resumed {
  if (!existsSync(join(folder, stateName)))
    throw new UserError({
      problem: `there is no checkpoint to resume in ${folder}`,
      hint: ["give the folder of the original run", "start a new run instead of resuming one"],
    });
  const { config: model, weights } = readModelFolder(folder);
  const stateFile = join(folder, stateName);
  const { step, dataset, training, lossScale } = (readJson(stateFile) ?? {}) as Partial<
    Resumed & Pick<TrainingState, "step" | "lossScale">
  >;
  const data = typeof dataset === "string" ? { source: dataset as string } : dataset;
  if (typeof step !== "number" || !Number.isSafeInteger(step) || step < 0 || typeof data?.source !== "string")
    throw new UserError({
      subject: stateFile,
      expected: '"step", "dataset" and "training"',
      got: `${shown(step)}, ${shown(dataset)}`,
      hint: damaged,
    });
  if (lossScale !== undefined && !isLossScale(lossScale))
    throw new UserError({
      subject: stateFile,
      expected: 'a power of two for "lossScale"',
      got: shown(lossScale),
      hint: damaged,
    });
  const parsed = parseTrainingConfig(training, stateFile);
  const optimizerFile = join(folder, optimizerName);
  const optimizer = readSafetensors(optimizerFile).tensors;
  const parameters = modelParameters(model);
  const names = parameters.map(({ name }) => name);
  const shapes = new Map(parameters.map(({ name, shape }) => [name, String(shape)]));
  const part = (kind: string, name: string): Float32Array => {
    const found = optimizer.get(`${kind}.${name}`);
    if (!found) throw new UserError({ subject: optimizerFile, problem: `it has no ${kind}.${name}`, hint: damaged });
    if (found.dtype !== "float32" || String(found.shape) !== shapes.get(name))
      throw new UserError({
        subject: optimizerFile,
        problem: `${kind}.${name} is ${found.dtype} [${found.shape}]`,
        expected: `float32 [${shapes.get(name)}]`,
        hint: damaged,
      });
    checkFinite(found.data, { path: optimizerFile, name: `${kind}.${name}` });
    return found.data as Float32Array;
  };
  const values = new Map(names.map((name) => [name, part("value", name)]));
  return {
    model,
    training: parsed,
    dataset: data,
    state: {
      step,
      lossScale,
      values,
      // Without an average, the model's weights are the values.
      average:
        parsed.ema > 0 ? new Map(names.map((name) => [name, readTensor(weights, name).data as Float32Array])) : values,
      moments: new Map(parameters.map((one) => [one.name, momentsOf(one, parsed, (which) => part(which, one.name))])),
    },
  };
}
