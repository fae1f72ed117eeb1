/** The random draws of sampling, from the key of each square. A key depends only on the seed, image and place. */

import { derive, type Key, permutation, seedKey, uniform } from "../core/random.ts";
import type { Patches } from "../levels/kind.ts";

/** The squares that a call generates, one per row: their keys, images and upper left corners in pixels. */
export interface Squares {
  keys: Key[];
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
}

/** The source of random draws; `seededDraws` by default. */
export interface Draws {
  /** A random order of the patches of each row: [R * tokens]. */
  orders(rows: Squares, tokens: number): Int32Array;
  /** One uniform in [0, 1) per channel of each row: [R * channels]. */
  uniforms(rows: Squares, channels: number): Float32Array;
}

export const seededDraws: Draws = {
  orders({ keys }, tokens) {
    const orders = new Int32Array(keys.length * tokens);
    keys.forEach((key, row) => orders.set(permutation(key, tokens), row * tokens));
    return orders;
  },
  uniforms({ keys }, channels) {
    const values = new Float32Array(keys.length * channels);
    keys.forEach((key, row) => {
      for (let c = 0; c < channels; c++) values[row * channels + c] = uniform(key, c);
    });
    return values;
  },
};

/** Whole images as rows, in the order of `indices`, with one seed for all or one seed each. */
export function wholeImages(seed: number | readonly number[], indices: readonly number[]): Squares {
  const zeros = () => new Int32Array(indices.length);
  const keys = indices.map((index, i) => derive(seedKey(typeof seed === "number" ? seed : seed[i]), index));
  return { keys, image: zeros().map((_, i) => i), x: zeros(), y: zeros() };
}

/** The guiding pixel of each square, whose draws are independent of those of its patches. */
export function guidingRows(rows: Squares): Squares {
  return { ...rows, keys: rows.keys.map((key) => derive(key, -2)) };
}

/** The given patches as squares. */
export function patchesAt(
  rows: Squares,
  { row, place }: Patches,
  { grid, patch }: { grid: number; patch: number },
): Squares {
  return {
    keys: Array.from(row, (own, i) => derive(rows.keys[own], place[i])),
    image: row.map((own) => rows.image[own]),
    x: row.map((own, i) => rows.x[own] + (place[i] % grid) * patch),
    y: row.map((own, i) => rows.y[own] + Math.floor(place[i] / grid) * patch),
  };
}
