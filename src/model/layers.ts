/** Transformer layers shared by training and sampling. Knows no levels and no checkpoints, only names of weights. */

import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import {
  add,
  concat,
  constant,
  div,
  dropout,
  erf,
  exp,
  flatten,
  gelu,
  layerNorm,
  linear,
  matmul,
  maximum,
  mean,
  mul,
  pick,
  reshape,
  sigmoid,
  slice,
  stack,
  softmax,
  sqrt,
  sub,
  sum,
  transpose,
} from "../graph/build.ts";
import { type Dim, over, times } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";

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

/** x / sqrt(mean(x^2) + 1e-5) * weight */
export const rmsNorm = (weights: Weights, name: string, x: Tensor): Tensor =>
  mul(div(x, sqrt(add(mean(mul(x, x)), 1e-5))), weights(`${name}.weight`));

function drop(x: Tensor, rate: (d: Dropout) => number, { dropout: d }: Training = {}): Tensor {
  if (!d) return x;
  const perRow = constant(int32([over(times(...x.shape), d.rows) as number], []));
  return dropout(x, rate(d), { seed: d.seed, salt: d.salt(), start: mul(d.first, perRow) });
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
  const scale = training ? Math.SQRT1_2 : 1;
  const inner = normedDense(weights, ["norm2", "mlp.fc1"], x, { training, scale });
  const hidden = drop(training ? mul(inner, add(erf(inner), 1)) : gelu(inner), (r) => r.projection, training);
  const weight = weights("mlp.fc2.weight");
  const out = linear(hidden, training ? mul(weight, scale) : weight, weights("mlp.fc2.bias"));
  return drop(out, (r) => r.projection, training);
}

/**
 * A norm and the linear layer after it: [.., E] -> [.., D]. In training the norm's weight and bias go into the layer's,
 * which are small: then the gradient has the normalised value at hand and the norm's own gradients cost next to nothing.
 */
function normedDense(
  weights: Weights,
  [normName, name]: [norm: string, layer: string],
  x: Tensor,
  { training, scale = 1 }: { training?: Training; scale?: number } = {},
): Tensor {
  if (!training) return dense(weights, name, norm(weights, normName, x));
  const { weight, bias } = folded(weights, normName, name);
  return linear(plainNorm(x), scale === 1 ? weight : mul(weight, scale), scale === 1 ? bias : mul(bias, scale));
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
  training?: Training;
}

/**
 * A pre-norm ViT block, as in MAR and pixel levels: [N, D] -> [N, D], N = B * tokens. With `read`, which takes some
 * tokens [B, R, D] of [B, T, D], only their outputs are computed (all tokens still serve as keys and values).
 */
export function vitBlock(
  weights: Weights,
  x: Tensor,
  { tokens, heads, training, read }: BlockOptions & { read?: (x: Tensor) => Tensor },
): Tensor {
  const normed = training ? plainNorm(x) : norm(weights, "norm1", x);
  const qkv = training
    ? folded(weights, "norm1", "attn.qkv")
    : { weight: weights("attn.qkv.weight"), bias: weights("attn.qkv.bias") };
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
    mixed = attention(q, k, v, { training });
    residual = read(batched(x));
  } else {
    const [q, k, v] = splitHeads(linear(normed, qkv.weight, qkv.bias), { parts: 3, tokens, heads });
    mixed = reshape(attention(q, k, v, { training }), x.shape);
  }
  const attended = add(
    residual,
    drop(dense(weights, "attn.proj", mixed), (r) => r.projection, training),
  );
  return add(attended, mlp(weights, attended, training));
}

/**
 * The same for very few tokens, each of which sees itself and those before it: x [T * K, D], token after token. Scores
 * are sums of products of whole arrays, for thousands of rows with three keys each make poor matrix products.
 */
export function fewTokensBlock(
  weights: Weights,
  x: Tensor,
  { tokens, heads, training }: { tokens: number; heads: number; training?: Training },
): Tensor {
  const width = dim(x, 1) as number;
  const rows = over(dim(x, 0), tokens);
  const normed = training ? plainNorm(x) : norm(weights, "norm1", x);
  const qkv = training
    ? folded(weights, "norm1", "attn.qkv")
    : { weight: weights("attn.qkv.weight"), bias: weights("attn.qkv.bias") };
  const part = (i: number, t: Tensor) =>
    linear(t, slice(qkv.weight, 0, i * width, (i + 1) * width), slice(qkv.bias, 0, i * width, (i + 1) * width));
  const each = (t: Tensor, count: number) => {
    const split = reshape(t, [count, rows, width]);
    return Array.from({ length: count }, (_, i) => pick(split, 0, i));
  };
  // The first token sees only itself: its output is its value, and nobody asks for its query.
  const later = () => flatten(slice(reshape(normed, [tokens, rows, width]), 0, 1, tokens));
  const queries = tokens > 1 ? each(part(0, later()), tokens - 1) : [];
  const keys = each(part(1, normed), tokens);
  const values = each(part(2, normed), tokens);
  const sumHeads = constant(headSums(width, heads)); // [D, H]
  const mixed = queries.map((query, i) => {
    const scaled = mul(query, (width / heads) ** -0.5);
    const seen = i + 2;
    const scores = keys.slice(0, seen).map((key) => matmul(mul(scaled, key), sumHeads)); // each [K, H]
    const highest = scores.reduce((a, b) => maximum(a, b));
    const powers = scores.map((score) => exp(sub(score, highest)));
    const total = powers.reduce((a, b) => add(a, b));
    return powers
      .map((power, j) => mul(matmul(div(power, total), sumHeads, { transB: true }), values[j]))
      .reduce((a, b) => add(a, b));
  });
  const attended = add(x, dense(weights, "attn.proj", flatten(stack([values[0], ...mixed]))));
  return add(attended, mlp(weights, attended, training));
}

/** [D, H]: 1 where a value belongs to a head. */
function headSums(width: number, heads: number): HostTensor {
  const sums = new Float32Array(width * heads);
  for (let i = 0; i < width; i++) sums[i * heads + Math.floor((i * heads) / width)] = 1;
  return float32(sums, [width, heads]);
}

/** Keys and values of earlier tokens, each [B, H, P, D/H]. */
export interface Past {
  keys: Tensor;
  values: Tensor;
}

/**
 * An RMSNorm, rotary, SwiGLU block, as in AR levels: x [N, D] -> [N, D], N = B * tokens, and the keys and values of all
 * tokens so far. With a past there is one new token, which sees all; without, every token sees those before it.
 */
export function llamaBlock(
  weights: Weights,
  x: Tensor,
  { tokens, heads, rotary: angles, training, past }: BlockOptions & { rotary: Rotary; past?: Past },
): Past & { x: Tensor } {
  const qkv = dense(weights, "attention.wqkv", rmsNorm(weights, "attention_norm", x), { bias: false });
  const [q, k, v] = splitHeads(qkv, { parts: 3, tokens, heads });
  const turned = rotate(k, angles);
  const keys = past ? concat([past.keys, turned], 2) : turned;
  const values = past ? concat([past.values, v], 2) : v;
  const mixed = attention(rotate(q, angles), keys, values, {
    bias: past ? undefined : causalBias(tokens),
    // no dropout: the published AR has none there
  });
  const projected = dense(weights, "attention.wo", reshape(mixed, x.shape), { bias: false });
  const attended = add(
    x,
    drop(projected, (r) => r.projection, training),
  );
  return { x: add(attended, swiglu(weights, rmsNorm(weights, "ffn_norm", attended), training)), keys, values };
}

/** Keys and values [N, H, D/H] of the few channels before one. */
export interface FewPast {
  keys: Tensor[];
  values: Tensor[];
}

/**
 * A pre-norm ViT block for one more token of very few, x [N, D]: `past` grows by its key and value. Scores are products
 * of whole arrays, for thousands of rows with three keys each make poor matrix products.
 */
export function vitBlockNext(weights: Weights, x: Tensor, { heads, past }: { heads: number; past: FewPast }): Tensor {
  const width = dim(x, 1) as number;
  const qkv = reshape(dense(weights, "attn.qkv", norm(weights, "norm1", x)), [dim(x, 0), 3, heads, width / heads]);
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
  const attended = add(x, dense(weights, "attn.proj", reshape(past.keys.length > 1 ? mixed : v, x.shape)));
  return add(attended, mlp(weights, attended));
}

/** 0 where a token may look (itself and before), else so low that its weight is exactly 0: [T, T]. */
const causalBias = (tokens: number): Tensor =>
  constant(
    float32(
      Float32Array.from({ length: tokens * tokens }, (_, i) => (i % tokens <= Math.floor(i / tokens) ? 0 : -1e30)),
      [tokens, tokens],
    ),
  );

/** Cosines and sines [T, D/H] by which queries and keys turn, two neighbouring values at a time. */
export interface Rotary {
  cos: Tensor;
  sin: Tensor;
}

/**
 * Two-dimensional rotary angles of a condition and grid * grid patches: rows turn the first half of a head's pairs,
 * columns the second. As published the condition's row is all zeros, cosines too: its query and key vanish.
 */
export function rotaryTable(
  grid: number,
  headWidth: number,
): { cos: HostTensor<Float32Array>; sin: HostTensor<Float32Array> } {
  const tokens = 1 + grid * grid;
  const quarter = headWidth / 4;
  const cos = new Float32Array(tokens * headWidth);
  const sin = new Float32Array(tokens * headWidth);
  for (let token = 1; token < tokens; token++)
    for (let pair = 0; pair < headWidth / 2; pair++) {
      const place = pair < quarter ? Math.floor((token - 1) / grid) : (token - 1) % grid;
      const frequency = Math.fround(1 / Math.fround(10000 ** Math.fround((pair % quarter) / quarter)));
      const angle = Math.fround(place * frequency);
      cos.fill(Math.cos(angle), token * headWidth + 2 * pair, token * headWidth + 2 * pair + 2);
      sin.fill(Math.sin(angle), token * headWidth + 2 * pair, token * headWidth + 2 * pair + 2);
    }
  return { cos: float32(cos, [tokens, headWidth]), sin: float32(sin, [tokens, headWidth]) };
}

/** x [B, H, T, W] turned: x cos + swap(x) sin, where swap maps each pair (a, b) to (-b, a). */
export function rotate(x: Tensor, { cos, sin }: Rotary): Tensor {
  const width = dim(x, -1) as number;
  const swap = new Float32Array(width * width);
  for (let i = 0; i < width; i += 2) {
    swap[(i + 1) * width + i] = -1;
    swap[i * width + i + 1] = 1;
  }
  const flat = reshape(x, [over(times(...x.shape), width), width]);
  const swapped = reshape(matmul(flat, constant(float32(swap, [width, width]))), x.shape);
  return add(mul(x, cos), mul(swapped, sin));
}
