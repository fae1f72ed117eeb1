/** Two-dimensional rotary positions of AR levels. */

import { float32 } from "../core/arrays.ts";
import { constant } from "../graph/build.ts";
import type { Tensor } from "../graph/tensor.ts";

/**
 * Cosines and sines [P, D/H / 2] of the rotation of pairs of neighbouring values, and the tokens' positions [1, T]
 * int64.
 */
export interface Rotary {
  cos: Tensor;
  sin: Tensor;
  positions: Tensor;
}

/**
 * The two-dimensional rotary angles of a condition and grid * grid patches: rows rotate the first half of a head's
 * pairs, columns the second. As published, the condition's entries are all zeros, including the cosines, so its query
 * and key vanish.
 */
export function rotaryOf(grid: number, headWidth: number, positions: Tensor): Rotary {
  const tokens = 1 + grid * grid;
  const pairs = headWidth / 2;
  const cos = new Float32Array(tokens * pairs);
  const sin = new Float32Array(tokens * pairs);
  for (let token = 1; token < tokens; token++)
    for (let pair = 0; pair < pairs; pair++) {
      const place = pair < pairs / 2 ? Math.floor((token - 1) / grid) : (token - 1) % grid;
      const frequency = Math.fround(1 / Math.fround(10000 ** Math.fround((pair % (pairs / 2)) / (pairs / 2))));
      const angle = Math.fround(place * frequency);
      cos[token * pairs + pair] = Math.cos(angle);
      sin[token * pairs + pair] = Math.sin(angle);
    }
  const table = (values: Float32Array) => constant(float32(values, [tokens, pairs]));
  return { cos: table(cos), sin: table(sin), positions };
}
