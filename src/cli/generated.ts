/** The generated images of a measure: a folder or file of them, or a model that draws them; and the data beside them. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Command } from "commander";
import { pickSampling, recordedSampling } from "../config/sampling.ts";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { derive, permutation, seedKey } from "../core/random.ts";
import type { Dataset } from "../data/dataset.ts";
import { decode, toChannels } from "../data/picture.ts";
import type { Engine } from "../engine/engine.ts";
import { removeStrays, writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import { configName, type ModelFolder } from "../files/model.ts";
import { own, type Owner } from "../files/ownership.ts";
import { imagePng } from "../pictures/grid.ts";
import { type DataFlags, openFor } from "./data-options.ts";
import { type ImageSet, sampleSet } from "./image-sets.ts";
import { findModel, shippedModels } from "./models.ts";
import { checkFolder } from "./outputs.ts";
import { duration, type Progress, rateOf } from "./progress.ts";
import {
  addSamplingOptions,
  openSampler,
  type SamplingFlags,
  type SamplingSettings,
  settingsOf,
} from "./sampling-options.ts";
import { bytes, filled, seeds, whole } from "./values.ts";

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

export const addGenerated = (command: Command): Command =>
  command
    .requiredOption("--generated <path|model>", "a folder or file of images, or a model to draw them", filled)
    .option(
      "--image-size <n>",
      "pixels per side of images in files (default: their own)",
      whole({ least: 1, most: 4096 }),
    )
    .option("--channels <n>", "of images in files and of the data (default: their own)", whole({ least: 1, most: 4 }));

/** What a model draws, and how. */
export const addDrawing = (command: Command, { count }: { count: number }): Command =>
  addSamplingOptions(
    command
      .optionsGroup("What a model draws (default: as the model says):")
      .option("-n, --count <n>", "how many images, of classes as often as in the data", whole({ least: 2 }), count)
      .option("--seed <n>", "of all that is random", seeds, 0),
  )
    .option("--each <dir>", "keep the images, as PNG; an interrupted run goes on from there", filled)
    .option("--batch <n>", "images at once; no result depends on it", whole({ least: 1, most: 4096 }), 32)
    .option("--memory <size>", "most memory for drawing, such as 3GB (default: what is free)", bytes);

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
  return isModel || !existsSync(nameOrPath) ? findModel(nameOrPath, { option: "--generated" }) : undefined;
}

interface Drawing extends SamplingSettings {
  count: number;
  seed: number;
  batch: number;
  memory?: number;
  threads?: number;
  /** Keeps the images here, as PNG, and takes those that are there already. */
  each?: string;
  /** Images done, with the share of those being drawn. */
  onProgress?: (done: number) => void;
  signal?: AbortSignal;
}

/** What a model generates, image i of the class `labelOf(i)`. Without `each` every call of `images` draws them again. */
export async function drawnSet(
  engine: Engine,
  model: ModelFolder,
  labelOf: (index: number) => number,
  { each, onProgress, ...options }: Drawing,
): Promise<ImageSet> {
  const { config } = model;
  const { count, seed, signal } = options;
  const { imageSize: size, channels } = config;
  const bytes = size * size * channels;
  const { sampler, batch } = openSampler(engine, model, options);
  const owned = each === undefined ? undefined : await own(each, { inside: true, signal });
  try {
    if (each !== undefined) await openFolder(each, { settings: await keptSettings(model, labelOf, options), ...owned });
  } catch (error) {
    await owned?.release();
    throw error;
  }
  const pathOf = (index: number) => join(each!, `${String(index).padStart(6, "0")}.png`);

  async function draw(indices: number[]): Promise<Uint8Array> {
    const settings = pickSampling(options);
    const frames = sampler.sample({ labels: indices.map(labelOf), indices, seed, ...settings, batch, signal });
    for (;;) {
      const { done, value } = await frames.next();
      if (done) return value;
      onProgress?.(indices[0] + value.done * indices.length);
    }
  }

  return {
    name: config.name ?? model.folder,
    count,
    size,
    channels,
    skipped: [],
    async *images() {
      for (let from = 0; from < count;) {
        const kept = each !== undefined && existsSync(pathOf(from));
        if (kept) {
          signal?.throwIfAborted();
          yield await readKept(pathOf(from), { size, channels });
          onProgress?.(++from);
          continue;
        }
        let to = from;
        while (to < Math.min(count, from + batch) && (each === undefined || !existsSync(pathOf(to)))) to++;
        const drawn = await draw(Array.from({ length: to - from }, (_, i) => from + i));
        for (; from < to; from++) {
          const image = drawn.subarray(drawn.length - (to - from) * bytes).subarray(0, bytes);
          if (each !== undefined) await writeFileAtomic(pathOf(from), await imagePng(image, { size, channels }));
          yield image;
        }
        onProgress?.(to);
      }
    },
    async dispose() {
      await sampler.dispose();
      await owned?.release();
    },
  };
}

/** The classes of a data set in a fixed random order, as often as they come in it; in turn where the model has others. */
export function labelsLike(classes: readonly string[], dataset?: Dataset): (index: number) => number {
  if (!dataset || dataset.classes.join() !== classes.join()) return (index) => index % classes.length;
  const { labels, count } = dataset.train;
  const order = permutation(derive(seedKey(0), 13), count);
  return (index) => labels[order[index % count]];
}

/** All that the kept images depend on. */
async function keptSettings(model: ModelFolder, labelOf: (index: number) => number, options: Drawing): Promise<string> {
  const weights = await checksum(model.weights.path, options);
  // Images beyond these follow from the same classes.
  const labels = Array.from({ length: 1000 }, (_, index) => labelOf(index)).join();
  const classes = createHash("sha256").update(labels).digest("hex");
  const drawn = { seed: options.seed, ...recordedSampling(options) };
  return `${JSON.stringify({ weights, classes, ...drawn })}\n`;
}

async function openFolder(
  folder: string,
  { settings, previous }: { settings: string; previous?: Owner },
): Promise<void> {
  await removeStrays(folder, { previous });
  const path = join(folder, "settings.json");
  if (!existsSync(path)) return writeFileAtomic(path, settings);
  if (readFileSync(path, "utf8") !== settings)
    throw new UserError(
      `--each: the images in ${folder} are of another model, seed or options; give another folder, or the options of then to go on`,
    );
}

async function readKept(file: string, { size, channels }: { size: number; channels: number }): Promise<Uint8Array> {
  const pixels = await decode({ file }).catch(() => undefined);
  if (!pixels || pixels.width !== size || pixels.height !== size)
    throw new UserError(`--each: ${file} is not an image of ${size}x${size} pixels; delete it, and it is drawn again`);
  return toChannels(pixels, channels).data;
}
