/** What a labelled image data set is, and deterministic orders over one. Knows nothing of where the images come from. */

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

/**
 * A permutation of 0 … count - 1 that depends on nothing but its arguments: Fisher-Yates over mulberry32
 * (Tommy Ettinger's 32-bit generator). Mixing the epoch into the seed gives each epoch its own order.
 */
export function shuffled(count: number, seed: number): Int32Array {
  const next = mulberry32(seed);
  const order = Int32Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor((next() / 2 ** 32) * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

/** The order in which epoch `epoch` visits `count` images. */
export function epochOrder(count: number, { epoch, seed }: { epoch: number; seed: number }): Int32Array {
  return shuffled(count, mulberry32(Math.imul(seed, 0x9e3779b1) ^ epoch)());
}

/** Unsigned 32-bit integers with period 2^32. */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}
