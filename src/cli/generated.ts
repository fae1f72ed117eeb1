/** The generated images of a measure: a folder or file of them, or a model that draws them; and the data beside them. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { recordedSampling } from "../config/sampling.ts";
import { counted } from "../core/counted.ts";
import { duration, rateOf } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { configName, type ModelFolder } from "../files/model.ts";
import { type DataFlags, openFor } from "./data-options.ts";
import { drawnSet, labelsLike } from "../measures/drawn-set.ts";
import { type ImageSet, sampleSet } from "../measures/image-sets.ts";
import { findModel, shippedModels } from "./models.ts";
import { checkFolder } from "./outputs.ts";
import type { Progress } from "./progress.ts";
import { type SamplingFlags, settingsOf } from "./sampling-options.ts";

export interface GeneratedFlags extends SamplingFlags {
  generated: string;
  imageSize?: number;
  channels?: number;
  count: number;
  seed: number;
  each?: string;
  batch: number;
  memory?: number;
  threads?: number;
}

/** What a stop leaves, as the end of a sentence. */
export const leftOf = ({ each }: GeneratedFlags): string =>
  `; the same command goes on from ${each === undefined ? "" : `the images in ${each} and `}the features found so far`;

interface Context {
  progress: Progress;
  signal: AbortSignal;
}

/** Found, but not opened: what data beside it have to fit. */
export interface Generated {
  size: number;
  channels: number;
  model?: ModelFolder;
  /** What a model's images depend on beside its weights. */
  settings?: SamplingFlags & { count: number; seed: number };
  /** Classes as often as in the data, where there are some. */
  open(engine: Engine, dataset?: Dataset): Promise<ImageSet>;
}

export async function findGenerated(flags: GeneratedFlags, { progress, signal }: Context): Promise<Generated> {
  const model = await modelAt(flags.generated);
  if (flags.each !== undefined) {
    checkFolder(flags.each, { option: "--each" });
    if (!model) throw new UserError("--each: it keeps what a model draws, but --generated is a set of images already");
  }
  if (!model) {
    const set = await sampleSet(flags.generated, { ...flags, signal });
    const { size, channels } = set;
    return { size, channels, open: async () => set };
  }
  const { config } = model;
  const { count, seed, batch, memory, threads, each } = flags;
  const settings = { ...settingsOf(flags, config), count, seed };
  return {
    size: config.imageSize,
    channels: config.channels,
    model,
    settings: { ...recordedSampling(settings), count, seed },
    open: (engine, dataset) =>
      drawnSet(engine, model, labelsLike(config.classes, dataset), {
        ...settings,
        batch,
        memory,
        threads,
        each,
        signal,
        onProgress: drawing(flags.count, progress),
      }),
  };
}

/** The data beside generated images, in their size and channels. */
export async function openBeside(
  source: string,
  { size, channels, model }: Generated,
  flags: DataFlags & { channels?: number },
  context: Context,
): Promise<Dataset> {
  const like = { imageSize: size, channels: flags.channels ?? (model && channels) };
  const dataset = await openFor(like, { ...flags, data: source }, context);
  if (dataset.channels !== channels)
    throw new UserError(
      `the generated images have ${counted(channels, "channel")}, but those of ${dataset.name} ${dataset.channels}; ${model ? "take data of as many channels as the model's" : `give --channels ${Math.max(channels, dataset.channels)} to compare both alike`}`,
    );
  return dataset;
}

function drawing(count: number, progress: Progress): (done: number) => void {
  let first: { at: number; done: number } | undefined;
  return (done) => {
    first ??= { at: performance.now(), done };
    const rate = ((done - first.done) / (performance.now() - first.at)) * 1000;
    const speed = rate > 0 ? `  ${rateOf(rate)}  ${duration((count - done) / rate)} left` : "";
    progress.update(`drawing: ${Math.floor(done)} of ${count} images${speed}`);
  };
}

/** A model by its name or folder, where that is one and not a set of images. */
async function modelAt(nameOrPath: string): Promise<ModelFolder | undefined> {
  const isModel =
    shippedModels().includes(nameOrPath) ||
    [nameOrPath, join(nameOrPath, "last")].some((folder) => existsSync(join(folder, configName)));
  return isModel || !existsSync(nameOrPath) ? findModel(nameOrPath, { subject: { setting: "generated" } }) : undefined;
}
