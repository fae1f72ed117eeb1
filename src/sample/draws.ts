/** Where sampling's random draws come from: a square's key, which follows from seed, image and place alone. */

import { derive, type Key, permutation, seedKey, uniform } from "../core/random.ts";

/** The squares that a call generates, one row each: their keys, images and corners in pixels. */
export interface Squares {
  keys: Key[];
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
}

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

/** The whole images `indices` of a seed, as rows in that order. */
export function wholeImages(seed: number, indices: readonly number[]): Squares {
  const root = seedKey(seed);
  const zeros = () => new Int32Array(indices.length);
  return { keys: indices.map((index) => derive(root, index)), image: zeros().map((_, i) => i), x: zeros(), y: zeros() };
}

/** A part of each square that has draws of its own beside its patches'. */
export function asideFrom(rows: Squares): Squares {
  return { ...rows, keys: rows.keys.map((key) => derive(key, -2)) };
}

/** The patches at `places` (k of each row, row after row) of squares cut into a grid of patches. */
export function patchesAt(
  rows: Squares,
  places: Int32Array,
  { grid, patch }: { grid: number; patch: number },
): Squares {
  const each = places.length / rows.keys.length;
  const below: Squares = {
    keys: new Array(places.length),
    image: new Int32Array(places.length),
    x: new Int32Array(places.length),
    y: new Int32Array(places.length),
  };
  places.forEach((place, i) => {
    const row = Math.floor(i / each);
    below.keys[i] = derive(rows.keys[row], place);
    below.image[i] = rows.image[row];
    below.x[i] = rows.x[row] + (place % grid) * patch;
    below.y[i] = rows.y[row] + Math.floor(place / grid) * patch;
  });
  return below;
}
