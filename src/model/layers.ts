/** Transformer layers shared by training and sampling. Knows no levels and no checkpoints, only names of weights. */

import { float32, int32 } from "../core/arrays.ts";
import {
  add,
  constant,
  div,
  dropout,
  erf,
  gelu,
  layerNorm,
  linear,
  matmul,
  sum,
  sub,
  maximum,
  max,
  exp,
  mul,
  pick,
  reshape,
  rmsNorm,
  rotary,
  sigmoid,
  slice,
  softmax,
  transpose,
} from "../graph/build.ts";
import { type Dim, over, times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import type { Rotary } from "./rotary.ts";

/** Gives the parameter of a name. */
export type Weights = (name: string) => Tensor;

export const scope =
  (weights: Weights, prefix: string): Weights =>
  (name) =>
    weights(prefix + name);

/** Layers are written for their gradients where this is given; with dropout where there are rates. */
export interface Training {
  dropout?: Dropout;
}

/**
 * Dropout rates in training; `seed` differs at every step and `salt` gives each use its own mask. `first` is the number
 * of the first of these `rows` in the whole batch, so that a row's mask does not depend on which others are with it.
 */
export interface Dropout {
  attention: number;
  projection: number;
  seed: Tensor;
  first: Tensor;
  rows: Dim;
  salt(): number;
}

export const dense = (weights: Weights, name: string, x: Tensor, { bias = true } = {}): Tensor =>
  linear(x, weights(`${name}.weight`), bias ? weights(`${name}.bias`) : undefined);

export const norm = (weights: Weights, name: string, x: Tensor): Tensor =>
  layerNorm(x, weights(`${name}.weight`), weights(`${name}.bias`), 1e-6);

const rms = (weights: Weights, name: string, x: Tensor): Tensor => rmsNorm(x, weights(`${name}.weight`), 1e-5);

function drop(x: Tensor, rate: (d: Dropout) => number, { dropout: d }: Training = {}): Tensor {
  if (!d) return x;
  const perRow = constant(int32([over(times(...x.shape), d.rows) as number], []));
  return dropout(x, rate(d), { seed: d.seed, salt: d.salt(), start: mul(d.first, perRow) });
}

/** Queries or keys [.., D/H], each brought to a root mean square of 1. */
function unitRms(x: Tensor): Tensor {
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
 * [.., D] -> the same after norm2, fc1, GELU and fc2. In training u = x / sqrt(2) is what fc1 gives, GELU is
 * u (1 + erf u) / sqrt(2), and the factors go into the weights: 7 passes for the gradient where Gelu's takes 11.
 */
export function mlp(weights: Weights, x: Tensor, training?: Training): Tensor {
  const fc1 = normedProjection(weights, ["norm2", "mlp.fc1"], x, training);
  const scaled = (t: Tensor) => (training ? mul(t, Math.SQRT1_2) : t);
  const inner = linear(fc1.normed, scaled(fc1.weight), scaled(fc1.bias));
  const hidden = drop(training ? mul(inner, add(erf(inner), 1)) : gelu(inner), (r) => r.projection, training);
  const out = linear(hidden, scaled(weights("mlp.fc2.weight")), weights("mlp.fc2.bias"));
  return drop(out, (r) => r.projection, training);
}

/**
 * A norm's result and the weight [D, E] and bias [D] of the linear layer after it. In training the norm's own weight and
 * bias go into the layer's, which are small: then the gradient has the normalised value at hand, and the norm's own
 * gradients cost next to nothing.
 */
export function normedProjection(
  weights: Weights,
  [normName, name]: [norm: string, layer: string],
  x: Tensor,
  training?: Training,
): { normed: Tensor; weight: Tensor; bias: Tensor } {
  if (training) return { normed: plainNorm(x), ...folded(weights, normName, name) };
  return { normed: norm(weights, normName, x), weight: weights(`${name}.weight`), bias: weights(`${name}.bias`) };
}

/** Weight and bias of a linear layer that take over those of the norm before it. */
function folded(weights: Weights, normName: string, name: string): { weight: Tensor; bias: Tensor } {
  const weight = weights(`${name}.weight`); // [D, E]
  const shift = matmul(weight, reshape(weights(`${normName}.bias`), [dim(weight, 1), 1])); // [D, 1]
  return {
    weight: mul(weight, weights(`${normName}.weight`)),
    bias: add(weights(`${name}.bias`), reshape(shift, [dim(weight, 0)])),
  };
}

/** Layer normalisation with nothing to learn. */
function plainNorm(x: Tensor): Tensor {
  const width = dim(x, -1) as number;
  const filled = (value: number) => constant(float32(new Float32Array(width).fill(value), [width]));
  return layerNorm(x, filled(1), filled(0), 1e-6);
}

/** [.., D] -> the same through SwiGLU */
export const swiglu = (weights: Weights, x: Tensor, training?: Training): Tensor => {
  const gate = dense(weights, "feed_forward.w1", x, { bias: false });
  const up = dense(weights, "feed_forward.w3", x, { bias: false });
  const hidden = mul(mul(gate, sigmoid(gate)), up);
  return drop(dense(weights, "feed_forward.w2", hidden, { bias: false }), (r) => r.projection, training);
};

interface BlockOptions {
  tokens: number;
  heads: number;
  qkNorm?: boolean;
  training?: Training;
}

/**
 * A pre-norm ViT block, as in MAR and pixel levels: [N, D] -> [N, D], N = B * tokens. With `read`, which takes some
 * tokens [B, R, D] of [B, T, D], only their outputs are computed (all tokens still serve as keys and values).
 */
export function vitBlock(
  weights: Weights,
  x: Tensor,
  { tokens, heads, qkNorm, training, read }: BlockOptions & { read?: (x: Tensor) => Tensor },
): Tensor {
  const { normed, ...qkv } = normedProjection(weights, ["norm1", "attn.qkv"], x, training);
  const unit = qkNorm ? unitRms : (t: Tensor) => t;
  let residual = x;
  let mixed: Tensor;
  if (read) {
    const width = dim(x, 1) as number;
    const batched = (t: Tensor) => reshape(t, [over(dim(t, 0), tokens), tokens, width]);
    const part = (from: number, to: number, t: Tensor) =>
      linear(t, slice(qkv.weight, 0, from, to), slice(qkv.bias, 0, from, to));
    const query = part(0, width, read(batched(normed))); // [B, R, D]
    const q = transpose(reshape(query, [...query.shape.slice(0, 2), heads, width / heads]), [0, 2, 1, 3]);
    const [k, v] = splitHeads(part(width, 3 * width, normed), { parts: 2, tokens, heads });
    mixed = attention(unit(q), unit(k), v, { training });
    residual = read(batched(x));
  } else {
    const [q, k, v] = splitHeads(linear(normed, qkv.weight, qkv.bias), { parts: 3, tokens, heads });
    mixed = reshape(attention(unit(q), unit(k), v, { training }), x.shape);
  }
  const attended = add(
    residual,
    drop(dense(weights, "attn.proj", mixed), (r) => r.projection, training),
  );
  return add(attended, mlp(weights, attended, training));
}

/** Room for L earlier tokens' keys and values [B, H, L, D/H]; `seen` [L] is 0 where there is one. */
export interface Past {
  keys: Tensor;
  values: Tensor;
  /** So low where there is none that its weight is exactly 0. */
  seen: Tensor;
}

/**
 * An RMSNorm, rotary, SwiGLU block, as in AR levels: x [N, D] -> [N, D], N = B * tokens, and the tokens' keys and values
 * [B, H, T, D/H]. With a past there is one new token, which sees all; without, every token sees those before it.
 */
export function llamaBlock(
  weights: Weights,
  x: Tensor,
  { tokens, heads, qkNorm, rotary: angles, training, past }: BlockOptions & { rotary: Rotary; past?: Past },
): { x: Tensor; key: Tensor; value: Tensor } {
  const qkv = dense(weights, "attention.wqkv", rms(weights, "attention_norm", x), { bias: false });
  const [q, k, value] = past ? oneToken(qkv, heads) : splitHeads(qkv, { parts: 3, tokens, heads });
  const unit = qkNorm ? unitRms : (t: Tensor) => t;
  const [query, key] = [rotary(unit(q), angles), rotary(unit(k), angles)];
  // no dropout on attention: the published AR has none there
  const mixed = past
    ? attentionTo(past, { query, key, value })
    : attention(query, key, value, { bias: causalBias(tokens) });
  const projected = dense(weights, "attention.wo", reshape(mixed, x.shape), { bias: false });
  const attended = add(
    x,
    drop(projected, (r) => r.projection, training),
  );
  return { x: add(attended, swiglu(weights, rms(weights, "ffn_norm", attended), training)), key, value };
}

/** [B, 3 D], of one token each, as query, key and value [B, H, 1, D/H]: where heads lie side by side nothing moves. */
function oneToken(x: Tensor, heads: number): Tensor[] {
  const width = (dim(x, 1) as number) / 3;
  return [0, 1, 2].map((i) => reshape(slice(x, 1, i * width, (i + 1) * width), [dim(x, 0), heads, 1, width / heads]));
}

/** Attention of one token, all three [B, H, 1, D/H], to earlier ones and itself; the earlier ones are not copied. */
function attentionTo(past: Past, { query, key, value }: { query: Tensor; key: Tensor; value: Tensor }): Tensor {
  const scaled = mul(query, (dim(query, -1) as number) ** -0.5);
  const earlier = add(matmul(scaled, past.keys, { transB: true }), past.seen); // [B, H, 1, L]
  const own = sum(mul(scaled, key), [-1], { keep: true }); // [B, H, 1, 1]
  const highest = maximum(max(earlier), own);
  const powers = exp(sub(earlier, highest));
  const ownPower = exp(sub(own, highest));
  const total = add(sum(powers, [-1], { keep: true }), ownPower);
  return div(add(matmul(powers, past.values), mul(ownPower, value)), total);
}

/** 0 where a token may look (itself and before), else so low that its weight is exactly 0: [T, T]. */
const causalBias = (tokens: number): Tensor =>
  constant(
    float32(
      Float32Array.from({ length: tokens * tokens }, (_, i) => (i % tokens <= Math.floor(i / tokens) ? 0 : -1e30)),
      [tokens, tokens],
    ),
  );
