/** What a labelled image data set is, and deterministic orders over one. Knows nothing of where the images come from. */

import type { LeftOut } from "./source.ts";
import { derive, permutation, seedKey } from "../core/random.ts";

/** Labelled images of one size in two splits. */
export interface Dataset {
  name: string;
  /** What was opened: `emoji`, or the path of a folder or file. */
  source: string;
  classes: string[];
  /** Broader names, each for several of the classes, where the data have such. */
  groups?: Record<string, string[]>;
  /** For each class whether its images may be flipped, and their hue turned; where this is missing, all may. */
  augmentable?: { flip: boolean[]; hue: boolean[] };
  /** Pixels per side. */
  size: number;
  channels: number;
  train: Split;
  heldOut: Split;
  /** Images of the source that are in neither split. */
  skipped: Skipped[];
  /** How the source was understood; data that the program brings itself need none. */
  report?: DataReport;
  /** What the user should know of these data, a sentence each. */
  notes: string[];
  /**
   * A hash of size, classes, and every image and label of both splits: equal for equal data, wherever they came from. An
   * only class goes without its name, which is that of a folder and changes with it.
   */
  fingerprint: string;
}

/** How a source was read. */
export interface DataReport {
  /** What the source was taken for, such as "a folder of images". */
  format: string;
  /** Which folders, files, columns or arrays are read for what, a few words each. */
  taken: string[];
  /** What is not used, and why. */
  leftOut: LeftOut[];
  /** Images that had another shape than the data set's, and so were cropped or scaled down. */
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
  /** The bytes of one image, [size, size, channels]; perhaps shared with other callers, so not to be written to. */
  image(index: number): Uint8Array;
}

/** A split in memory: `images` holds `labels.length` images one after another. */
export function splitOf({ images, labels, names }: { images: Uint8Array } & Pick<Split, "labels" | "names">): Split {
  const count = labels.length;
  const bytes = images.length / count;
  return { count, labels, names, image: (index) => images.subarray(index * bytes, (index + 1) * bytes) };
}

/** Images `from` to `to - 1` one after another: [to - from, size, size, channels]. */
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

/** A permutation of 0 … count - 1 that depends on nothing but its arguments. */
export const shuffled = (count: number, seed: number): Int32Array => permutation(seedKey(seed), count);

/** The order in which epoch `epoch` visits `count` images; each epoch has its own. */
export const epochOrder = (count: number, { epoch, seed }: { epoch: number; seed: number }): Int32Array =>
  permutation(derive(seedKey(seed), epoch), count);
