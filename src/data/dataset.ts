/** What a labelled image data set is, and deterministic orders over one. Knows nothing of where the images come from. */

import { derive, permutation, seedKey } from "../core/random.ts";

export interface Dataset {
  name: string;
  classes: string[];
  /** Pixels per side. */
  size: number;
  channels: number;
  train: Split;
  heldOut: Split;
}

export interface Split {
  count: number;
  /** [count, size, size, channels] bytes. */
  images: Uint8Array;
  /** [count], indices into `classes`. */
  labels: Int32Array;
  /** One per image, `set/code points`, such as `noto/2764`. */
  names: string[];
}

/** The bytes of image `index` of a split, [size, size, channels], without a copy. */
export function imageAt(split: Split, index: number): Uint8Array {
  const bytes = split.images.length / split.count;
  return split.images.subarray(index * bytes, (index + 1) * bytes);
}

/** A permutation of 0 … count - 1 that depends on nothing but its arguments. */
export const shuffled = (count: number, seed: number): Int32Array => permutation(seedKey(seed), count);

/** The order in which epoch `epoch` visits `count` images; each epoch has its own. */
export const epochOrder = (count: number, { epoch, seed }: { epoch: number; seed: number }): Int32Array =>
  permutation(derive(seedKey(seed), epoch), count);
