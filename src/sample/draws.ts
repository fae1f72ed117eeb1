/** Where sampling's random draws come from: a square's key, which follows from seed, image and place alone. */

import { derive, type Key, permutation, seedKey, uniform } from "../core/random.ts";
import type { Patches } from "../levels/kind.ts";

/** The squares that a call generates, one row each: their keys, images and corners in pixels. */
export interface Squares {
  keys: Key[];
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
}

/** Where random draws come from; `seededDraws` unless something else is given. */
export interface Draws {
  /** For each row a random order of its patches: [R * tokens]. */
  orders(rows: Squares, tokens: number): Int32Array;
  /** For each row one uniform in [0, 1) per channel: [R * channels]. */
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

/** The whole images `indices`, each of its seed or all of one, as rows in that order. */
export function wholeImages(seed: number | readonly number[], indices: readonly number[]): Squares {
  const zeros = () => new Int32Array(indices.length);
  const keys = indices.map((index, i) => derive(seedKey(typeof seed === "number" ? seed : seed[i]), index));
  return { keys, image: zeros().map((_, i) => i), x: zeros(), y: zeros() };
}

/** A part of each square that has draws of its own beside its patches'. */
export function asideFrom(rows: Squares): Squares {
  return { ...rows, keys: rows.keys.map((key) => derive(key, -2)) };
}

/** Those patches as squares themselves. */
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
