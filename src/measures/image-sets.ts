/** Sets of images that measures take: a part of a data set, or a folder or file of samples. */

import type { Dataset, Skipped, Split } from "../data/dataset.ts";
import { openImages } from "../data/images.ts";
import { onWhite } from "../pictures/grid.ts";

/** Images to measure: a folder, a part of a data set, or what a model generates. */
export interface ImageSet {
  /** As a user would call it. */
  name: string;
  /** How many there are, those included that will turn out not to decode. */
  count: number;
  size: number;
  channels: number;
  /** How many had another size or shape and were cropped or scaled down, so far. */
  readonly resized?: number;
  /** Images that did not decode, so far. */
  skipped: readonly Skipped[];
  /** Bytes [size, size, channels], in the same order every time. */
  images(options?: { signal?: AbortSignal }): AsyncGenerator<Uint8Array>;
  /** Releases what generates the images. */
  dispose?(): Promise<void>;
}

/** The images of a set as opaque RGB [size, size, 3], which is what feature networks take. */
export async function* inColour({ images, channels }: ImageSet, options: { signal?: AbortSignal } = {}) {
  for await (const image of images(options)) yield onWhite(image, channels);
}

/** `held-out` and `train` are the dataset's parts, `all` is both. */
export const datasetParts = ["train", "held-out", "all"] as const;
/** A part of a data set, or both. */
export type DatasetPart = (typeof datasetParts)[number];

/** A part of a data set as images to measure. */
export function partSet({ name, size, channels, train, heldOut }: Dataset, part: DatasetPart): ImageSet {
  const splits: Split[] = part === "all" ? [train, heldOut] : [part === "train" ? train : heldOut];
  return {
    name: part === "all" ? name : `${name}, ${part}`,
    count: splits.reduce((sum, { count }) => sum + count, 0),
    size,
    channels,
    skipped: [],
    async *images({ signal } = {}) {
      for (const { count, image } of splits)
        for (let i = 0; i < count; i++) {
          signal?.throwIfAborted();
          yield image(i);
        }
    },
  };
}

/** Images of a folder or file, in their own size and channels unless others are asked for. */
export async function sampleSet(
  path: string,
  options: { imageSize?: number; channels?: number; signal?: AbortSignal },
): Promise<ImageSet> {
  const stream = await openImages(path, options);
  const { count, size, channels, skipped } = stream;
  return {
    name: path,
    count,
    size,
    channels,
    skipped,
    get resized() {
      return stream.resized;
    },
    async *images() {
      for await (const { data } of stream.images()) yield data;
    },
  };
}
