/** Prepares a training run after its data are open: the model, the settings and the initial state. */

import { resolve } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import {
  parseTrainingConfig,
  scaledLearningRate,
  type TrainingConfig,
  trainingNames,
  trainingSetting,
} from "../config/training.ts";
import { product } from "../core/arrays.ts";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { listed } from "../core/text.ts";
import type { Dataset } from "../data/dataset.ts";
import { checkDataset } from "../data/fits.ts";
import { contentOf } from "../data/open.ts";
import type { ModelFolder } from "../files/model.ts";
import { freeMemory } from "../files/free-memory.ts";
import { modelParameters } from "../model/parameters.ts";
import { type DataRecord, dataRecord, type Resumed } from "../train/checkpoint.ts";
import { fineTunedState } from "../train/fine-tuning.ts";
import { startingState, type TrainingState } from "../train/state.ts";
import { settingsWithin, trainingBytes } from "../train/memory.ts";
import { lanesFor } from "../workers/training.ts";
import { type Beginning, isPath } from "./begin.ts";
import type { RunOptions } from "./options.ts";
import { modelOf, presetOf, tunedConfig } from "./preset.ts";
import { goingOn } from "./prolong.ts";

/** A run that is ready to train. */
export interface Prepared {
  model: ModelConfig;
  training: TrainingConfig;
  state: TrainingState;
  data: DataRecord;
  parameters: number;
  /** Notes for the user on how the run continues. */
  notes: readonly string[];
}

/** The settings given by the options; settings that depend on the batch or the data are computed. */
function settingsGiven(
  options: RunOptions,
  { batch, replicas, images }: { batch: number; replicas: number; images: number },
): Partial<TrainingConfig> {
  const found: Partial<TrainingConfig> = Object.fromEntries(
    trainingNames.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
  if (options.flip || options.augment !== undefined)
    found.augment = [...new Set([...(options.augment ?? []), ...(options.flip ? (["flip"] as const) : [])])];
  if (options.blr !== undefined) found.learningRate = scaledLearningRate(options.blr, options.batch ?? batch);
  if (options.epochs !== undefined) {
    const together = (options.batch ?? batch) * (options.replicas ?? replicas);
    found.steps = Math.max(1, Math.round((options.epochs * images) / together));
  }
  return found;
}

/** Determines the model, settings and state from the options and the data. */
export async function settle(
  { out, data, resumed, initial, given }: Beginning,
  dataset: Dataset,
  options: RunOptions,
): Promise<Prepared> {
  const source = data.source === "emoji" ? data.source : resolve(data.source);
  const heldOut = isPath(data.heldOut) ? resolve(data.heldOut) : data.heldOut;
  const record: DataRecord = { ...dataRecord(dataset, { ...contentOf(data), heldOut }), source };
  const images = dataset.train.count;
  const finished = (
    model: ModelConfig,
    training: TrainingConfig,
    { state, notes = [] }: Pick<Prepared, "state"> & Partial<Prepared>,
  ): Prepared => {
    checkDataset(model, dataset);
    const parameters = modelParameters(model).reduce((sum, { shape }) => sum + product(shape), 0);
    return { model, training, state, data: record, parameters, notes };
  };
  if (resumed) {
    const { model } = resumed;
    const training = continued(resumed, settingsGiven(options, { ...resumed.training, images }));
    const going = await goingOn(out, resumed, training);
    return finished(model, options.memory === undefined ? training : within(model, training, options), going);
  }
  const { classes, groups, size: imageSize, channels } = dataset;
  const preset = presetOf(options, "levels" in given.model ? 32 : imageSize, dataset);
  const redWeight = options.redWeight === undefined ? {} : { redWeight: options.redWeight };
  const model: ModelConfig = initial
    ? tunedConfig(initial[0].config, given, { classes, groups })
    : { ...modelOf(preset, given, { imageSize, channels, classes, groups }), ...redWeight };
  const untrainable = (dtype?: string) => dtype !== undefined && dtype !== "float32";
  const quantized = initial?.find(({ config }) => untrainable(config.dtype));
  if (quantized || untrainable(model.dtype))
    throw new UserError({
      subject: quantized?.folder ?? given.source,
      problem: `models in ${(quantized?.config ?? model).dtype} cannot be trained`,
      hint: quantized
        ? "use the float32 model that it was made from"
        : 'leave "dtype" out, and quantise the model after training',
    });
  // Fine-tuning starts from good weights, for which Muon's usual rate is too high (docs/log.md).
  const gentle = initial && options.recipe !== "published" ? { learningRate: preset.training.learningRate! / 2 } : {};
  const base = parseTrainingConfig({ ...preset.training, ...gentle, ...given.training }, given.source);
  const threads = lanesFor(model, options.threads);
  const training = parseTrainingConfig(
    { ...base, threads, ...settingsGiven(options, { ...base, images }) },
    "the options",
  );
  if (training.innerChoice === "detail" && training.innerShare.every((share) => share === 1))
    throw new UserError({
      subject: { setting: "innerChoice" },
      problem: "there is nothing to choose, because all patches are passed down",
      hint: { do: "give the share to pass down", setting: "innerShare", value: "0.25" },
    });
  const chosen = options.memory === undefined && (options.microBatch !== undefined || "microBatch" in given.training);
  const start = initial
    ? tunedStart(initial, model, training)
    : { state: startingState(model, training.seed, training) };
  return finished(model, chosen ? training : within(model, training, options), start);
}

/** The starting state of a fine-tuned model, with a note if not every tensor comes from a single model. */
function tunedStart(
  initial: readonly ModelFolder[],
  model: ModelConfig,
  training: TrainingConfig,
): Pick<Prepared, "state" | "notes"> {
  const { state, origins, widened, differences } = fineTunedState(initial, { ...training, model });
  const fresh = [...origins].filter(([, folder]) => folder === undefined).map(([name]) => name);
  if (initial.length === 1 && fresh.length === 0 && widened.size === 0) return { state, notes: [] };
  const counts = initial.map(({ folder }) => {
    const own = [...origins].filter(([, origin]) => origin === folder);
    const wider = own.filter(([name]) => widened.has(name)).length;
    return `${own.length} from ${folder}${wider > 0 ? ` (${wider} of them widened)` : ""}`;
  });
  const note = `of ${counted(origins.size, "tensor")}, ${counts.join(", ")}; ${fresh.length === 0 ? "none" : fresh.length} with random values${fresh.length === 0 ? "" : `: ${listed(fresh)}`}`;
  return { state, notes: [[note, ...differences].join("; ")] };
}

/** On the CPU, larger micro-batches are no faster. */
const usefulMicroBatch = 16;

/**
 * Fits the settings into the memory limit, or into half the free memory of the machine or GPU: chooses the micro-batch, unless an option sets it,
 * and enables gradient checkpointing if necessary.
 */
function within(
  model: ModelConfig,
  training: TrainingConfig,
  { memory, gpuMemory, microBatch: fixed }: Pick<RunOptions, "memory" | "gpuMemory" | "microBatch">,
): TrainingConfig {
  const onGpu = gpuMemory !== undefined;
  const options = { ...training, loop: !onGpu, lanes: onGpu ? 1 : lanesFor(model, training.threads) };
  const bytes = memory ?? (gpuMemory ?? freeMemory()) / 2;
  if (fixed !== undefined)
    return { ...training, checkpointing: training.checkpointing || trainingBytes(model, fixed, options) > bytes };
  // Another program may hold a GPU's memory now and not later, so without a limit of the user's nothing is refused.
  const least = () => trainingBytes(model, 1, { ...options, checkpointing: true });
  if (onGpu && memory === undefined && least() > bytes) return { ...training, checkpointing: true, microBatch: 1 };
  const { microBatch, checkpointing } = settingsWithin(model, options, bytes);
  return {
    ...training,
    checkpointing,
    microBatch: onGpu ? microBatch : Math.min(microBatch, usefulMicroBatch),
  };
}

/** A resumed run keeps its settings, except those that do not affect the steps already taken. */
function continued({ training }: Resumed, changes: Partial<TrainingConfig>): TrainingConfig {
  for (const name of trainingNames.filter((one) => trainingSetting(one).fixed))
    if (changes[name] !== undefined && String(changes[name]) !== String(training[name]))
      throw new UserError({
        subject: { setting: name },
        problem: `the run was started with ${training[name]} and cannot be resumed with ${changes[name]}`,
        hint: ["leave it out", { do: "start a new run in another folder", setting: "out" }],
      });
  return parseTrainingConfig({ ...training, ...changes }, "the options");
}

/** Checks that the data are those that the run began with, and throws a UserError otherwise. A single class keeps the run's name for it. */
export function checkSame({ out, resumed }: Beginning, dataset: Dataset): Dataset {
  const { source, fingerprint, train, heldOutCount } = resumed!.dataset;
  const { classes } = resumed!.model;
  if (fingerprint === undefined || fingerprint === dataset.fingerprint)
    return classes.length === 1 && dataset.classes.length === 1 ? { ...dataset, classes } : dataset;
  const other = classes.findIndex((name, label) => name !== dataset.classes[label]);
  const changes = [
    ...(classes.length === dataset.classes.length
      ? classes.length === 1 || other < 0
        ? []
        : [`class ${other} was ${classes[other]}, now ${dataset.classes[other]}`]
      : [`${classes.length} classes before, ${dataset.classes.length} now`]),
    ...(train === dataset.train.count ? [] : [`${train} training images before, ${dataset.train.count} now`]),
    ...(heldOutCount === dataset.heldOut.count
      ? []
      : [`${heldOutCount} held out before, ${dataset.heldOut.count} now`]),
  ];
  throw new UserError({
    problem: `the data in ${source} have changed since this run began (${changes.length > 0 ? changes.join("; ") : "other images or labels"})`,
    hint: [
      { do: "restore them, or give their new location", setting: "data" },
      { do: "start a new run on the new data", command: "train", setting: "initFrom", value: out },
    ],
  });
}
