/** Layers and attention shared by training and sampling. Knows no levels and no checkpoints. */

import { float32, int32 } from "../core/arrays.ts";
import {
  add,
  constant,
  dropout,
  layerNorm,
  linear,
  matmul,
  mul,
  pick,
  reshape,
  rmsNorm,
  softmax,
  transpose,
} from "../graph/build.ts";
import { type Dim, over, times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import type { Dense, Norm } from "./parameters.ts";

/** If given, layers are written in the form with the cheapest gradients, with dropout if there are rates. */
export interface Training {
  dropout?: Dropout;
}

/**
 * Dropout in training. `seed` differs at every step, and `salt` gives each use its own mask. `first` is the index of
 * the first of these `rows` within the whole batch, so that a row's mask does not depend on how the batch is split.
 */
export interface Dropout {
  attention: number;
  projection: number;
  seed: Tensor;
  first: Tensor;
  rows: Dim;
  /** Returns a new number at each call. */
  salt(): number;
}

/** A linear layer: x [.., E] -> [.., D]. */
export const dense = ({ weight, bias }: Dense, x: Tensor): Tensor => linear(x, weight, bias);

/** Layer normalisation over the last dimension, with an epsilon of 1e-6. */
export const norm = ({ weight, bias }: Norm, x: Tensor): Tensor => layerNorm(x, weight, bias, 1e-6);

export function drop(x: Tensor, rate: (d: Dropout) => number, { dropout: d }: Training = {}): Tensor {
  if (!d) return x;
  const perRow = constant(int32([over(times(...x.shape), d.rows) as number], []));
  return dropout(x, rate(d), { seed: d.seed, salt: d.salt(), start: mul(d.first, perRow) });
}

/** Scales queries or keys [.., D/H] to a root mean square of 1. */
export function unitRms(x: Tensor): Tensor {
  const width = dim(x, -1) as number;
  return rmsNorm(x, constant(float32(new Float32Array(width).fill(1), [width])), 1e-6);
}

/** q [B, H, T, D/H], k and v [B, H, S, D/H] -> [B, T, D]; `bias` [T, S] is added to the scores. */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { bias, training }: { bias?: Tensor; training?: Training } = {},
): Tensor {
  const headWidth = dim(q, -1) as number;
  const scores = matmul(mul(q, headWidth ** -0.5), k, { transB: true }); // [B, H, T, S]
  const weights = drop(softmax(bias ? add(scores, bias) : scores), (r) => r.attention, training);
  const mixed = transpose(matmul(weights, v), [0, 2, 1, 3]); // [B, T, H, D/H]
  return reshape(mixed, [dim(mixed, 0), dim(mixed, 1), (dim(mixed, 2) as number) * headWidth]);
}

/** [N, parts * D] with N = B * T -> `parts` tensors [B, H, T, D/H] */
export function splitHeads(
  x: Tensor,
  { parts, tokens, heads }: { parts: number; tokens: number; heads: number },
): Tensor[] {
  const batch = over(dim(x, 0), tokens);
  const headWidth = (dim(x, 1) as number) / parts / heads;
  const split = transpose(reshape(x, [batch, tokens, parts, heads, headWidth]), [2, 0, 3, 1, 4]);
  return Array.from({ length: parts }, (_, i) => pick(split, 0, i));
}

/**
 * Returns the result of a norm, and the weight [D, E] and bias [D] of the linear layer after it. In training, the
 * norm's weight and bias are folded into those of the layer, which are small: the gradient can then reuse the
 * normalised value, and the gradients of the norm's parameters cost almost nothing.
 */
export function normedProjection(
  before: Norm,
  { weight, bias }: Required<Dense>,
  x: Tensor,
  training?: Training,
): { normed: Tensor; weight: Tensor; bias: Tensor } {
  if (!training) return { normed: norm(before, x), weight, bias };
  const shift = matmul(weight, reshape(before.bias, [dim(weight, 1), 1])); // [D, 1]
  return {
    normed: plainNorm(x),
    weight: mul(weight, before.weight),
    bias: add(bias, reshape(shift, [dim(weight, 0)])),
  };
}

/** Layer normalisation without learned parameters. */
function plainNorm(x: Tensor): Tensor {
  const width = dim(x, -1) as number;
  const filled = (value: number) => constant(float32(new Float32Array(width).fill(value), [width]));
  return layerNorm(x, filled(1), filled(0), 1e-6);
}
