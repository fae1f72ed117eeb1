/** What a training run is to do: from the options, a configuration file, a preset, or the run that is resumed. */

import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { explain, type ModelConfig, parseModelConfig, placedLevels } from "../config/model.ts";
import { emojiPresetFor, type Kind, type Preset, presetFor, type Size, usualIterations } from "../config/presets.ts";
import type { RecipeName } from "../config/recipes.ts";
import {
  parseTrainingConfig,
  scaledLearningRate,
  type TrainingConfig,
  trainingNames,
  trainingSetting,
} from "../config/training.ts";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import type { EmojiSet } from "../data/emoji-sets.ts";
import type { Provider } from "../engine/engine.ts";
import { type ModelFolder, readJson } from "../files/model.ts";
import { modelParameters } from "../model/parameters.ts";
import {
  type DataRecord,
  dataRecord,
  fineTunedState,
  loadCheckpoint,
  type Resumed,
  startingState,
  type TrainingState,
} from "../train/checkpoint.ts";
import { settingsWithin, trainingBytes } from "../train/memory.ts";
import { checkDataset } from "../train/trainer.ts";
import { lanesFor } from "../workers/training.ts";
import { findModel } from "./models.ts";
import { checkFolder } from "./outputs.ts";
import { freeMemory } from "./space.ts";

export interface TrainFlags extends Partial<TrainingConfig> {
  data?: string;
  out?: string;
  resume?: string;
  initFrom?: string;
  imageSize?: number;
  channels?: number;
  heldOut?: string;
  group?: string;
  sets?: readonly EmojiSet[];
  skipSmall?: boolean;
  size?: Size;
  kind?: Kind;
  recipe?: RecipeName;
  config?: string;
  redWeight?: number;
  flip?: boolean;
  epochs?: number;
  blr?: number;
  memory?: number;
  features?: string;
  cache: string;
  samples: boolean;
  json?: boolean;
  device: Provider;
  threads?: number;
}

/** A run as far as it is known before its data are opened. */
export interface Beginning {
  out: string;
  data: DataRecord;
  resumed?: Resumed;
  initial?: ModelFolder;
  given: Given;
}

export interface Prepared {
  model: ModelConfig;
  training: TrainingConfig;
  state: TrainingState;
  data: DataRecord;
  parameters: number;
}

/** Everything that can be checked before any work. */
export async function beginning(flags: TrainFlags): Promise<Beginning> {
  const out = runFolder(flags);
  if (flags.blr !== undefined && flags.learningRate !== undefined)
    throw new UserError("--blr and --learning-rate say the same in two ways; give one of them");
  if (flags.epochs !== undefined && flags.steps !== undefined)
    throw new UserError("--epochs and --steps say the same in two ways; give one of them");
  if (flags.resume !== undefined) {
    const resumed = await loadCheckpoint(join(out, "last"));
    const { dataset } = resumed;
    const data = { ...dataset, source: flags.data ?? dataset.source, heldOut: flags.heldOut ?? dataset.heldOut };
    checkThere(resumed, data);
    return { out, data, resumed, given: { source: "the run", model: {}, training: {} } };
  }
  if (flags.data === undefined)
    throw new UserError(
      "train needs --data: a folder of images, an IDX, .npz or Parquet file, or the built-in set: emoji",
    );
  const initial = flags.initFrom === undefined ? undefined : await findModel(flags.initFrom, { option: "--init-from" });
  const fixed = initial && (["size", "kind", "redWeight"] as const).find((name) => flags[name] !== undefined);
  if (fixed)
    throw new UserError(
      `--init-from brings its own model; leave ${fixed === "redWeight" ? "--red-weight" : `--${fixed}`} out`,
    );
  const given = configFile(flags.config, flags);
  if (initial && Object.keys(given.model).length > 0)
    throw new UserError(`--init-from brings its own model; leave "model" out of ${flags.config}`);
  const { data: source, heldOut, group, sets, skipSmall } = flags;
  const [imageSize, channels] = (["imageSize", "channels"] as const).map((name) => {
    const said = initial ? initial.config[name] : (given.model[name] as number | undefined);
    const asked = flags[name];
    if (said !== undefined && asked !== undefined && said !== asked)
      throw new UserError(
        `${name === "channels" ? "--channels" : "--image-size"}: ${asked} is asked for, but the model of ${initial?.folder ?? given.source} has ${said}; leave the option out, and images are brought to that`,
      );
    return asked ?? said;
  });
  return { out, data: { source, imageSize, channels, heldOut, group, sets, skipSmall }, initial, given };
}

const isPath = (heldOut: string | number | undefined): heldOut is string =>
  typeof heldOut === "string" && Number.isNaN(Number(heldOut));

/** A run may have been moved since, or its data. */
function checkThere({ dataset: before }: Resumed, { source, heldOut }: DataRecord): void {
  if (source !== "emoji" && source === before.source && !existsSync(source))
    throw new UserError(
      `the data of this run, ${source}, are not there any more; put them back, or say by --data where they are now`,
    );
  if (isPath(heldOut) && heldOut === before.heldOut && !existsSync(heldOut))
    throw new UserError(
      `the held-out part of this run, ${heldOut}, is not there any more; put it back, or say by --held-out where it is now`,
    );
}

/** The folder of the run, checked before any work. */
export function runFolder({ out, resume, cache, ...flags }: TrainFlags): string {
  checkFolder(cache, { option: "--cache" });
  if (resume !== undefined) {
    const own = {
      "--out": out,
      "--config": flags.config,
      "--init-from": flags.initFrom,
      "--size": flags.size,
      "--kind": flags.kind,
      "--recipe": flags.recipe,
      "--red-weight": flags.redWeight,
      "--image-size": flags.imageSize,
      "--channels": flags.channels,
      "--group": flags.group,
      "--skip-small": flags.skipSmall,
      "--sets": flags.sets,
    };
    const extra = Object.entries(own).find(([, value]) => value !== undefined)?.[0];
    if (extra)
      throw new UserError(`--resume goes on in the run's own folder with its own settings; leave ${extra} out`);
    // What `train` prints at its end is the checkpoint; its run is meant.
    return basename(resolve(resume)) === "last" && existsSync(join(resume, "state.json"))
      ? dirname(resolve(resume))
      : resume;
  }
  if (out === undefined)
    throw new UserError("train needs --out DIR for its checkpoints (or --resume DIR to go on with a run)");
  checkFolder(out, { option: "--out" });
  if (existsSync(join(out, "last")))
    throw new UserError(`--out: ${out} already holds a run; go on with it by --resume ${out}, or give another folder`);
  return out;
}

const fileSchema = z.strictObject({
  model: z.record(z.string(), z.unknown()).default({}),
  training: z.record(z.string(), z.unknown()).default({}),
});

interface Given {
  source: string;
  model: Record<string, unknown>;
  training: Record<string, unknown>;
}

/** What --config gives, checked as far as one can without the data. */
function configFile(path: string | undefined, flags: TrainFlags): Given {
  const source = path ?? "the preset";
  const parsed = fileSchema.safeParse(path === undefined ? {} : readJson(path));
  if (!parsed.success)
    throw new UserError(`${source}: ${explain(parsed.error.issues[0])}; expected {"model": {…}, "training": {…}}`);
  const { model, training } = parsed.data;
  const given = { source, model, training };
  const size = model["imageSize"] ?? flags.imageSize;
  const preset = typeof size === "number" && !("levels" in model) ? presetOf(flags, size) : presetOf(flags, 32);
  // Any class name will do, and any size that the levels can be cut from: those of the data come in once they are there.
  const { groups: _, ...ungrouped } = model;
  modelOf(
    preset,
    { ...given, model: ungrouped },
    { imageSize: (size as number) ?? sizeFor(model["levels"]), classes: ["any"] },
  );
  parseTrainingConfig({ ...preset.training, ...training }, source);
  return given;
}

function sizeFor(levels: unknown): number {
  const patch = Array.isArray(levels) ? Number(levels[0]?.patch) : Number.NaN;
  return patch >= 1 && patch <= 2048 ? 2 * patch : 32;
}

/** The preset's model, with what is known of it and then what --config gives in its place. */
function modelOf(
  { model: preset }: Preset,
  { source, model: given }: Given,
  known: Pick<ModelConfig, "imageSize" | "classes"> & Partial<ModelConfig>,
): ModelConfig {
  const { iterations: _, ...sampling } = preset.sampling;
  const own = given["sampling"] ?? {};
  const merged = typeof own === "object" ? { ...sampling, ...own } : own;
  const model = parseModelConfig({ ...preset, ...known, ...given, sampling: merged }, source);
  const iterations = model.sampling.iterations ?? usualIterations(placedLevels(model).map(({ tokens }) => tokens));
  return { ...model, sampling: { ...model.sampling, iterations } };
}

function presetOf(flags: TrainFlags, imageSize: number, { channels = 3, train }: Partial<Dataset> = {}): Preset {
  const choice = { size: flags.size, kind: flags.kind, recipe: flags.recipe };
  return flags.data === "emoji"
    ? emojiPresetFor(choice, imageSize)
    : presetFor(choice, { imageSize, channels, images: train?.count });
}

/** The settings that the options give; those that depend on the batch or the data worked out. */
function settingsGiven(
  flags: TrainFlags,
  { batch, images }: { batch: number; images: number },
): Partial<TrainingConfig> {
  const found: Partial<TrainingConfig> = Object.fromEntries(
    trainingNames.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]])),
  );
  if (flags.flip || flags.augment !== undefined)
    found.augment = [...new Set([...(flags.augment ?? []), ...(flags.flip ? (["flip"] as const) : [])])];
  if (flags.blr !== undefined) found.learningRate = scaledLearningRate(flags.blr, flags.batch ?? batch);
  if (flags.epochs !== undefined)
    found.steps = Math.max(1, Math.round((flags.epochs * images) / (flags.batch ?? batch)));
  return found;
}

/** Model, settings and state, now that the data are known. */
export function settle({ data, resumed, initial, given }: Beginning, dataset: Dataset, flags: TrainFlags): Prepared {
  const { imageSize: asked, channels: wanted, group, sets, skipSmall } = data;
  const source = data.source === "emoji" ? data.source : resolve(data.source);
  const heldOut = isPath(data.heldOut) ? resolve(data.heldOut) : data.heldOut;
  const opening = { imageSize: asked, channels: wanted, heldOut, group, sets, skipSmall };
  const record: DataRecord = { ...dataRecord(dataset, opening), source };
  const images = dataset.train.count;
  const finished = (model: ModelConfig, training: TrainingConfig, state: TrainingState): Prepared => {
    checkDataset(model, dataset);
    const parameters = modelParameters(model).reduce((sum, { shape }) => sum + product(shape), 0);
    return { model, training, state, data: record, parameters };
  };
  if (resumed) {
    const { model, training, state } = continued(resumed, settingsGiven(flags, { ...resumed.training, images }));
    return finished(model, flags.memory === undefined ? training : within(model, training, flags), state);
  }
  const { classes, groups, size: imageSize, channels } = dataset;
  const preset = "levels" in given.model ? presetOf(flags, 32, dataset) : presetOf(flags, imageSize, dataset);
  const redWeight = flags.redWeight === undefined ? {} : { redWeight: flags.redWeight };
  const model: ModelConfig = initial
    ? parseModelConfig({ ...initial.config, classes, groups }, initial.folder)
    : { ...modelOf(preset, given, { imageSize, channels, classes, groups }), ...redWeight };
  if (model.dtype !== undefined && model.dtype !== "float32")
    throw new UserError(
      `${initial?.folder ?? given.source}: models in ${model.dtype} cannot be trained; ${initial ? "give the float32 model that it came from" : 'leave "dtype" out, and quantise the trained model'}`,
    );
  const base = parseTrainingConfig({ ...preset.training, ...given.training }, given.source);
  const threads = lanesFor(model, flags.threads);
  const training = parseTrainingConfig(
    { ...base, threads, ...settingsGiven(flags, { ...base, images }) },
    "the options",
  );
  const chosen = flags.memory === undefined && (flags.microBatch !== undefined || "microBatch" in given.training);
  const state = initial
    ? fineTunedState(initial, { ...training, model })
    : startingState(model, training.seed, training);
  return finished(model, chosen ? training : within(model, training, flags), state);
}

/** Beyond this larger micro-batches are no faster. */
const usefulMicroBatch = 16;

/**
 * With what fits in the memory asked for, or in half of what is free: the micro-batch, unless an option gives it, and
 * checkpointing if need be.
 */
function within(
  model: ModelConfig,
  training: TrainingConfig,
  { memory, microBatch: fixed }: TrainFlags,
): TrainingConfig {
  const options = { ...training, lanes: lanesFor(model, training.threads) };
  const bytes = memory ?? freeMemory() / 2;
  if (fixed !== undefined)
    return { ...training, checkpointing: training.checkpointing || trainingBytes(model, fixed, options) > bytes };
  const { microBatch, checkpointing } = settingsWithin(model, options, bytes);
  return { ...training, checkpointing, microBatch: Math.min(microBatch, usefulMicroBatch) };
}

/** A resumed run keeps its settings but for what does not change the steps already taken. */
function continued({ model, training, state }: Resumed, changes: Partial<TrainingConfig>) {
  for (const name of trainingNames.filter((one) => trainingSetting(one).fixed))
    if (changes[name] !== undefined && String(changes[name]) !== String(training[name]))
      throw new UserError({
        subject: { setting: name },
        problem: `the run was started with ${training[name]} and cannot go on with ${changes[name]}`,
        hint: ["leave it out", { do: "start a new run in another folder", setting: "out" }],
      });
  return { model, training: parseTrainingConfig({ ...training, ...changes }, "the options"), state };
}

/** The data by the run's own name for an only class. Refuses data that are no longer those that the run began with. */
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
        : [`class ${other} was ${classes[other]} then, ${dataset.classes[other]} now`]
      : [`${classes.length} classes then, ${dataset.classes.length} now`]),
    ...(train === dataset.train.count ? [] : [`${train} images to train on then, ${dataset.train.count} now`]),
    ...(heldOutCount === dataset.heldOut.count ? [] : [`${heldOutCount} held out then, ${dataset.heldOut.count} now`]),
  ];
  throw new UserError(
    `the data of ${source} changed since the run began (${changes.length > 0 ? changes.join("; ") : "other images or labels"}); put them back or say by --data where they are now, or go on with the new ones by: fractalgen train --init-from ${out} --data … --out …`,
  );
}
