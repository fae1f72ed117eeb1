/** Images as patches, and sums over them in the order of the published code. */

import { add, mul, pick, reshape, round, slice, transpose, cast, constant, sub, div } from "../graph/build.ts";
import { times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { float32 } from "../core/arrays.ts";
import { normalization } from "../core/normalize.ts";

/** Bytes [B, S, S, C] -> normalised values [B, C, S, S]. */
export function normalize(bytes: Tensor): Tensor {
  const channels = dim(bytes, 3) as number;
  const { mean, deviation } = normalization(channels);
  const unit = div(cast(bytes, "float32"), 255);
  const values = div(sub(unit, constant(float32(mean, [channels]))), constant(float32(deviation, [channels])));
  return transpose(values, [0, 3, 1, 2]);
}

/** Images [B, C, S, S] -> patches [B * (S/p)^2, C * p * p], channel-major within a patch as published. */
export function patchify(images: Tensor, patch: number): Tensor {
  const [batch, channels, size] = [dim(images, 0), dim(images, 1) as number, dim(images, 2) as number];
  const grid = size / patch;
  const split = transpose(reshape(images, [batch, channels, grid, patch, grid, patch]), [0, 2, 4, 1, 3, 5]);
  return reshape(split, [times(batch, grid * grid), channels * patch * patch]);
}

/** Normalised colours [N, C] -> bytes [N, C] int32, rounding halves to even. */
export function toBytes(values: Tensor): Tensor {
  const channels = dim(values, 1) as number;
  const { mean, deviation } = normalization(channels);
  const unit = add(mul(values, constant(float32(deviation, [channels]))), constant(float32(mean, [channels])));
  return cast(round(mul(unit, 255)), "int32");
}

/**
 * The mean colour of patches [N, C, p, p] -> [N, C]. Means are often halfway between two bytes, so values are summed in
 * the order in which PyTorch sums them on a CPU: eight lanes of a row at a time, then the lanes from left to right;
 * then the same over rows.
 */
export const meanColour = (patches: Tensor): Tensor => meanOfLast(meanOfLast(patches));

function meanOfLast(x: Tensor): Tensor {
  const length = dim(x, -1) as number;
  const full = Math.floor(length / lanes);
  const values: Tensor[] = [];
  for (let at = full * lanes; at < length; at++) values.push(pick(x, -1, at));
  if (full > 0) {
    const vectors = Array.from({ length: full }, (_, i) => slice(x, -1, i * lanes, (i + 1) * lanes));
    const whole = sumVectors(vectors);
    for (let lane = 0; lane < lanes; lane++) values.push(pick(whole, -1, lane));
  }
  return div(
    values.reduce((a, b) => add(a, b)),
    length,
  );
}

const lanes = 8;

/** Keeps four running sums, as PyTorch does, if there are at least four vectors. */
function sumVectors(vectors: Tensor[]): Tensor {
  const running = 4;
  const rounds = Math.floor(vectors.length / running);
  const sums: (Tensor | undefined)[] = Array.from({ length: running });
  const into = (i: number, x: Tensor) => (sums[i] = sums[i] ? add(sums[i]!, x) : x);
  for (let round = 0; round < rounds; round++) for (let i = 0; i < running; i++) into(i, vectors[round * running + i]);
  for (const vector of vectors.slice(rounds * running)) into(0, vector);
  return sums.filter((x) => x !== undefined).reduce((a, b) => add(a, b));
}
