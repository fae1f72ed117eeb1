/** Labelled image data sets, and deterministic orders over them. Knows nothing of where the images come from. */

import type { LeftOut } from "./source.ts";
import { derive, permutation, seedKey } from "../core/random.ts";

/** Labelled images of one size, in two splits. */
export interface Dataset {
  name: string;
  /** The argument of `openDataset`: `emoji`, or the path of a folder or file. */
  source: string;
  classes: string[];
  /** Named groups of classes, if the data define any. */
  groups?: Record<string, string[]>;
  /** For each class, whether its images may be flipped and whether their hue may be rotated; if undefined, all may. */
  augmentable?: { flip: boolean[]; hue: boolean[] };
  /** Pixels per side. */
  size: number;
  channels: number;
  train: Split;
  heldOut: Split;
  /** Images of the source in neither split. */
  skipped: Skipped[];
  /** How the source was read; undefined for built-in data. */
  report?: DataReport;
  /** Notes for the user on these data, one sentence each. */
  notes: string[];
  /**
   * A hash of the size, the classes, and every image and label of both splits: equal for equal data from any source.
   * The name of a single class is not included, because it is the name of the folder.
   */
  fingerprint: string;
}

/** How a source was read. */
export interface DataReport {
  /** The recognised format, such as "a folder of images". */
  format: string;
  /** Which folders, files, columns or arrays are used for what, a few words each. */
  taken: string[];
  /** What is not used, with reasons. */
  leftOut: LeftOut[];
  /** The number of images with a different shape, which were cropped or scaled down. */
  resized: number;
}

/** An image that was left out, and why. */
export interface Skipped {
  name: string;
  reason: string;
}

/** The images of one split, by index. */
export interface Split {
  count: number;
  /** [count], indices into `classes`. */
  labels: Int32Array;
  /** One per image, such as `noto/2764` or `cats/1.png`. */
  names: string[];
  /** The bytes of one image, [size, size, channels]. They may be shared with other callers, so do not modify them. */
  image(index: number): Uint8Array;
}

/** A split in memory: `images` holds `labels.length` images one after another. */
export function splitOf({ images, labels, names }: { images: Uint8Array } & Pick<Split, "labels" | "names">): Split {
  const count = labels.length;
  const bytes = images.length / count;
  return { count, labels, names, image: (index) => images.subarray(index * bytes, (index + 1) * bytes) };
}

/** Images `from` to `to - 1`, concatenated: [to - from, size, size, channels]. */
export function imagesBetween(split: Split, { from, to }: { from: number; to: number }): Uint8Array {
  const first = split.image(from);
  const images = new Uint8Array((to - from) * first.length);
  for (let index = from; index < to; index++) images.set(split.image(index), (index - from) * first.length);
  return images;
}

/** At most `most` images of a split, evenly spaced. */
export function evenly(split: Split, most: number): Split {
  const count = Math.min(split.count, most);
  const at = (i: number) => Math.floor((i * split.count) / count);
  return {
    count,
    labels: Int32Array.from({ length: count }, (_, i) => split.labels[at(i)]),
    names: Array.from({ length: count }, (_, i) => split.names[at(i)]),
    image: (i) => split.image(at(i)),
  };
}

/** A permutation of 0 … count - 1 that depends only on its arguments. */
export const shuffled = (count: number, seed: number): Int32Array => permutation(seedKey(seed), count);

/** The order in which epoch `epoch` visits `count` images; each epoch has its own. */
export const epochOrder = (count: number, { epoch, seed }: { epoch: number; seed: number }): Int32Array =>
  permutation(derive(seedKey(seed), epoch), count);
