/** ViT blocks over very few tokens, such as the channels of a pixel. Know no levels. */

import { float32, type HostTensor } from "../core/arrays.ts";
import {
  add,
  concat,
  constant,
  div,
  exp,
  flatten,
  linear,
  matmul,
  maximum,
  mul,
  pick,
  reshape,
  slice,
  softmax,
  stack,
  stopGradient,
  sub,
  sum,
} from "../graph/build.ts";
import { over } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { dense, norm, normedProjection, type Training } from "./layers.ts";
import { mlp, type VitBlock } from "./vit.ts";

/**
 * A causal pre-norm ViT block: x [T * K, D], ordered by token. Each token attends to itself and the tokens before it.
 * Scores are computed as sums of elementwise products of whole arrays, because matrix products are inefficient for
 * thousands of rows with three keys each.
 */
export function fewTokensBlock(
  block: VitBlock,
  x: Tensor,
  { tokens, training }: { tokens: number; training?: Training },
): Tensor {
  const { heads } = block;
  const width = dim(x, 1) as number;
  const rows = over(dim(x, 0), tokens);
  const { normed, ...qkv } = normedProjection(block.norm1, block.qkv, x, training);
  const part = (i: number, t: Tensor) =>
    linear(t, slice(qkv.weight, 0, i * width, (i + 1) * width), slice(qkv.bias, 0, i * width, (i + 1) * width));
  const each = (t: Tensor, count: number) => {
    const split = reshape(t, [count, rows, width]);
    return Array.from({ length: count }, (_, i) => pick(split, 0, i));
  };
  // The first token attends only to itself: its output is its value, and its query is never needed.
  const later = () => flatten(slice(reshape(normed, [tokens, rows, width]), 0, 1, tokens));
  const queries = tokens > 1 ? each(part(0, later()), tokens - 1) : [];
  const keys = each(part(1, normed), tokens);
  const values = each(part(2, normed), tokens);
  const sumHeads = constant(headSums(width, heads)); // [D, H]
  const mixed = queries.map((query, i) => {
    const scaled = mul(query, (width / heads) ** -0.5);
    const seen = i + 2;
    const scores = keys.slice(0, seen).map((key) => matmul(mul(scaled, key), sumHeads)); // each [K, H]
    // Subtracting the same number from all scores does not change the softmax.
    const highest = stopGradient(scores.reduce((a, b) => maximum(a, b)));
    const powers = scores.map((score) => exp(sub(score, highest)));
    const total = powers.reduce((a, b) => add(a, b));
    return powers
      .map((power, j) => mul(matmul(div(power, total), sumHeads, { transB: true }), values[j]))
      .reduce((a, b) => add(a, b));
  });
  const attended = add(x, dense(block.proj, flatten(stack([values[0], ...mixed]))));
  return add(attended, mlp(block, attended, training));
}

/** [D, H]: 1 where a value belongs to a head. */
function headSums(width: number, heads: number): HostTensor {
  const sums = new Float32Array(width * heads);
  for (let i = 0; i < width; i++) sums[i * heads + Math.floor((i * heads) / width)] = 1;
  return float32(sums, [width, heads]);
}

/** Cached keys and values [N, H, D/H] of the previous channels. */
export interface FewPast {
  keys: Tensor[];
  values: Tensor[];
}

/**
 * A pre-norm ViT block for the next token, x [N, D]. Appends its key and value to `past`. Scores are computed as
 * products of whole arrays, because matrix products are inefficient for thousands of rows with three keys each.
 */
export function vitBlockNext(block: VitBlock, x: Tensor, past: FewPast): Tensor {
  const { heads } = block;
  const width = dim(x, 1) as number;
  const qkv = reshape(dense(block.qkv, norm(block.norm1, x)), [dim(x, 0), 3, heads, width / heads]);
  const [q, k, v] = [0, 1, 2].map((part) => pick(qkv, 1, part)); // [N, H, D/H]
  past.keys.push(k);
  past.values.push(v);
  const scaled = mul(q, (width / heads) ** -0.5);
  const scores = concat(
    past.keys.map((key) => sum(mul(scaled, key), [-1], { keep: true })),
    -1,
  ); // [N, H, S]
  const shares = softmax(scores);
  const mixed = past.values.map((value, i) => mul(slice(shares, -1, i, i + 1), value)).reduce((a, b) => add(a, b));
  const attended = add(x, dense(block.proj, reshape(past.keys.length > 1 ? mixed : v, x.shape)));
  return add(attended, mlp(block, attended));
}
