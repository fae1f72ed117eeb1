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
import { recoverFolder, replaceFolder } from "../files/atomic.ts";
import { checkFinite } from "../files/finite.ts";
import type { Ownership } from "../files/ownership.ts";
import { type ModelFolder, readJson, readModelFolder, writeModelFolder } from "../files/model.ts";
import { readSafetensors, readTensor } from "../files/safetensors.ts";
import { optimizerName, stateName, writeTrainingFiles } from "../files/training-state.ts";
import { modelParameters } from "../model/parameters.ts";
import { isLossScale } from "./loss-scale.ts";
import { momentsOf } from "./optimizer.ts";
import { copied, type Starting, startingState, type TrainingState } from "./state.ts";

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

/** A starting state, and where its tensors come from: a model's folder, or undefined for random values. */
export interface FineTuned {
  state: TrainingState;
  origins: ReadonlyMap<string, string | undefined>;
}

/**
 * A starting state for fine-tuning. Each tensor comes from the first model that has one of its name and shape, and has
 * random values if none has. A class keeps its embedding of the first model that knows it, and a new class gets a new
 * one; moments start at zero. Throws a UserError if nothing comes from one of the models.
 */
export function fineTunedState(
  from: readonly ModelFolder[],
  { model, seed, ema, optimizer, ...starts }: Starting & { model: ModelConfig; seed: number },
): FineTuned {
  const state = startingState(model, seed, { ...starts, ema: 0, optimizer });
  const origins = new Map<string, string | undefined>();
  const used = new Set<string>();
  for (const { name, shape } of modelParameters(model)) {
    const value = state.values.get(name)!;
    if (name === classEmbedding) {
      const embedded = embedClasses(from, value, { classes: model.classes, width: shape[1] });
      origins.set(name, embedded[0]);
      for (const folder of embedded) used.add(folder);
      continue;
    }
    const origin = from.find(({ weights }) => String(weights.tensors.get(name)?.shape) === String(shape));
    origins.set(name, origin?.folder);
    if (!origin) continue;
    used.add(origin.folder);
    value.set(readTensor(origin.weights, name).data as Float32Array); // one at a time
  }
  const unused = from.find(({ folder }, i) => !used.has(folder) || from.findIndex((one) => one.folder === folder) < i);
  if (unused)
    throw new UserError({
      subject: unused.folder,
      problem: "it contributes no tensors, because none of its remaining tensors matches this model's names and shapes",
      hint: ["leave it out", "change the levels"],
    });
  return { state: ema > 0 ? { ...state, average: copied(state.values) } : state, origins };
}

/**
 * Copies the embedding [D] of each class from the first model of this width that knows the class, into `rows` [C, D].
 * Returns the folders of the models that were used.
 */
function embedClasses(
  from: readonly ModelFolder[],
  rows: Float32Array,
  { classes, width }: { classes: readonly string[]; width: number },
): string[] {
  const left = new Set(classes.keys());
  return from.flatMap(({ folder, config, weights }) => {
    if (weights.tensors.get(classEmbedding)?.shape[1] !== width) return [];
    const known = [...left].filter((label) => config.classes.includes(classes[label]));
    if (known.length === 0) return [];
    const given = readTensor(weights, classEmbedding).data as Float32Array;
    for (const label of known) {
      const at = config.classes.indexOf(classes[label]);
      rows.set(given.subarray(at * width, (at + 1) * width), label * width);
      left.delete(label);
    }
    return [folder];
  });
}

const classEmbedding = "class_emb.weight";

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
export async function loadCheckpoint(folder: string): Promise<Resumed> {
  await recoverFolder(folder);
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
