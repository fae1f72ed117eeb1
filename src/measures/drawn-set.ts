/** The images a model generates, as a set to measure: drawn on demand, and cached in a folder if one is given. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pickSampling, recordedSampling, type SamplingSettings } from "../config/sampling.ts";
import { UserError } from "../core/errors.ts";
import { derive, permutation, seedKey } from "../core/random.ts";
import type { Dataset } from "../data/dataset.ts";
import { decode, toChannels } from "../data/picture.ts";
import type { Engine } from "../engine/engine.ts";
import { removeStrays, writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import type { ModelFolder } from "../files/model.ts";
import { own, type Owner } from "../files/ownership.ts";
import { imagePng } from "../pictures/grid.ts";
import type { Sampler } from "../sample/sampler.ts";
import { openSampler } from "../workers/sampler.ts";
import type { ImageSet } from "./image-sets.ts";

export interface DrawnSetOptions extends SamplingSettings {
  count: number;
  seed: number;
  /** The default is that of `openSampler`. */
  batch?: number;
  memory?: number;
  threads?: number;
  /** A folder that caches the images as PNG files; images already there are not drawn again. */
  each?: string;
  /** Called with the number of images done, including a fraction for those being drawn. */
  onProgress?: (done: number) => void;
  signal?: AbortSignal;
  /** Draws elsewhere than on this engine, in jobs of so many images, several at once. */
  elsewhere?: { sampler: Sampler; images: number };
}

/** Images that are asked of a given sampler at once. */
const askedAtOnce = 4096;

/** The images a model generates; image i has the class `labelOf(i)`. Without `each`, every call of `images` draws them again. */
export async function drawnSet(
  engine: Engine,
  model: ModelFolder,
  labelOf: (index: number) => number,
  { each, onProgress, elsewhere, ...options }: DrawnSetOptions,
): Promise<ImageSet> {
  const { config } = model;
  const { count, seed, signal } = options;
  const { imageSize: size, channels } = config;
  const bytes = size * size * channels;
  const { images: together = 1 } = elsewhere ?? {};
  const { sampler, batch } = elsewhere
    ? { ...elsewhere, batch: Math.max(1, Math.floor(askedAtOnce / together)) * together }
    : openSampler(engine, model, options);
  const owned = each === undefined ? undefined : await own(each, { inside: true, signal });
  try {
    if (each !== undefined) await openFolder(each, { settings: await keptSettings(model, labelOf, options), ...owned });
  } catch (error) {
    await owned?.release();
    throw error;
  }
  const pathOf = (index: number) => join(each!, `${String(index).padStart(6, "0")}.png`);

  /** The images of these indices, each as soon as it and those before it are there. */
  async function* drawn(indices: number[]): AsyncGenerator<Uint8Array> {
    const settings = pickSampling(options);
    const frames = sampler.sample({ labels: indices.map(labelOf), indices, seed, ...settings, batch, signal });
    let next = 0;
    for (;;) {
      const { done, value } = await frames.next();
      const [images, ready] = done ? [value, indices.length] : [value.images, value.ready ?? 0];
      for (; next < ready; next++) yield images.subarray(next * bytes, (next + 1) * bytes);
      if (done) return;
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
        // Jobs are the same wherever an earlier command stopped.
        const start = from - (from % together);
        let to = from;
        while (to < Math.min(count, start + batch) && (each === undefined || !existsSync(pathOf(to)))) to++;
        to = Math.min(count, Math.ceil(to / together) * together);
        const indices = Array.from({ length: to - start }, (_, i) => start + i);
        for await (const image of after(drawn(indices), from - start)) {
          if (each !== undefined) await writeFileAtomic(pathOf(from), await imagePng(image, { size, channels }));
          from++;
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

/** The items after the first `count`. */
async function* after<T>(items: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  let at = 0;
  for await (const item of items) if (at++ >= count) yield item;
}

/**
 * The class of each image to generate: those of a data set's training images in a fixed random order, or the model's classes in
 * turn if the data set has others.
 */
export function labelsLike(classes: readonly string[], dataset?: Dataset): (index: number) => number {
  if (!dataset || dataset.classes.join() !== classes.join()) return (index) => index % classes.length;
  const { labels, count } = dataset.train;
  const order = permutation(derive(seedKey(0), 13), count);
  return (index) => labels[order[index % count]];
}

/** Everything the cached images depend on, as a line of JSON. */
async function keptSettings(
  model: ModelFolder,
  labelOf: (index: number) => number,
  options: DrawnSetOptions,
): Promise<string> {
  const weights = await checksum(model.weights.path, options);
  // A hash of the first 1000 classes is enough: the later ones follow from the same data.
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
    throw new UserError({
      subject: { setting: "each" },
      problem: `${folder} holds images made with a different model, seed or options`,
      hint: "choose another folder, or repeat the original options to resume",
    });
}

/** The bytes of an image that was kept, [size, size, channels]. */
export async function readKept(
  file: string,
  { size, channels }: { size: number; channels: number },
): Promise<Uint8Array> {
  const pixels = await decode({ file }).catch(() => undefined);
  if (!pixels || pixels.width !== size || pixels.height !== size)
    throw new UserError({
      subject: { setting: "each" },
      problem: `${file} is not an image of ${size}x${size} pixels`,
      hint: "delete it to have it drawn again",
    });
  return toChannels(pixels, channels).data;
}
