/**
 * The transformer block of AR levels (RMSNorm, rotary positions, SwiGLU), for all tokens at once or for one new token
 * with a key/value cache.
 */

import { float32 } from "../core/arrays.ts";
import {
  add,
  constant,
  div,
  exp,
  matmul,
  max,
  maximum,
  mul,
  reshape,
  rmsNorm,
  rotary,
  sigmoid,
  slice,
  sub,
  sum,
} from "../graph/build.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { attention, dense, drop, splitHeads, type Training, unitRms } from "./layers.ts";
import { declareUnbiased, type Declare, type Dense } from "./parameters.ts";
import type { Rotary } from "./rotary.ts";
import type { BlockSize } from "./vit.ts";

export interface LlamaBlock {
  wqkv: Dense;
  wo: Dense;
  w1: Dense;
  w3: Dense;
  w2: Dense;
  /** [D] */
  attentionNorm: Tensor;
  feedForwardNorm: Tensor;
  heads: number;
  /** Whether the queries and keys of each head are normalised. */
  qkNorm?: boolean;
}

/** The hidden width of SwiGLU: two thirds of 4 d, rounded up to a multiple of 256. */
export const swigluWidth = (width: number): number => Math.ceil(Math.floor((2 * 4 * width) / 3) / 256) * 256;

export function declareLlama(declare: Declare, { width, heads, qkNorm }: BlockSize): LlamaBlock {
  const hidden = swigluWidth(width);
  const residual = { start: "residual" } as const;
  return {
    wqkv: declareUnbiased(declare, "attention.wqkv", [3 * width, width], { matrices: 3 }),
    wo: declareUnbiased(declare, "attention.wo", [width, width], residual),
    w1: declareUnbiased(declare, "feed_forward.w1", [hidden, width]),
    w3: declareUnbiased(declare, "feed_forward.w3", [hidden, width]),
    w2: declareUnbiased(declare, "feed_forward.w2", [width, hidden], residual),
    attentionNorm: declare("attention_norm.weight", [width], "ones"),
    feedForwardNorm: declare("ffn_norm.weight", [width], "ones"),
    heads,
    qkNorm,
  };
}

const rms = (weight: Tensor, x: Tensor): Tensor => rmsNorm(x, weight, 1e-5);

/** Applies SwiGLU: [.., D] -> [.., D]. */
const swiglu = ({ w1, w2, w3 }: LlamaBlock, x: Tensor, training?: Training): Tensor => {
  const gate = dense(w1, x);
  const up = dense(w3, x);
  const hidden = mul(mul(gate, sigmoid(gate)), up);
  return drop(dense(w2, hidden), (r) => r.projection, training);
};

/** A cache for the keys and values of L earlier tokens [B, H, L, D/H]; `seen` [L] is 0 for filled positions. */
export interface Past {
  keys: Tensor;
  values: Tensor;
  /** 0 for filled positions, and so low for empty ones that their weight is exactly 0. */
  seen: Tensor;
}

/**
 * The block of AR levels: x [N, D] -> [N, D], N = B * tokens, and the tokens' keys and values [B, H, T, D/H]. With a
 * past, there is one new token, which attends to all earlier ones; without one, every token attends to itself and those
 * before it.
 */
export function llamaBlock(
  block: LlamaBlock,
  x: Tensor,
  { tokens, rotary: angles, training, past }: { tokens: number; rotary: Rotary; training?: Training; past?: Past },
): { x: Tensor; key: Tensor; value: Tensor } {
  const { heads, qkNorm } = block;
  const qkv = dense(block.wqkv, rms(block.attentionNorm, x));
  const [q, k, value] = past ? oneToken(qkv, heads) : splitHeads(qkv, { parts: 3, tokens, heads });
  const unit = qkNorm ? unitRms : (t: Tensor) => t;
  const [query, key] = [rotary(unit(q), angles), rotary(unit(k), angles)];
  // no dropout on attention, as in the published AR model
  const mixed = past
    ? attentionTo(past, { query, key, value })
    : attention(query, key, value, { bias: causalBias(tokens) });
  const projected = dense(block.wo, reshape(mixed, x.shape));
  const attended = add(
    x,
    drop(projected, (r) => r.projection, training),
  );
  return { x: add(attended, swiglu(block, rms(block.feedForwardNorm, attended), training)), key, value };
}

/**
 * Splits [B, 3 D], one token per row, into query, key and value [B, H, 1, D/H]. With a single token, this moves no
 * data.
 */
function oneToken(x: Tensor, heads: number): Tensor[] {
  const width = (dim(x, 1) as number) / 3;
  return [0, 1, 2].map((i) => reshape(slice(x, 1, i * width, (i + 1) * width), [dim(x, 0), heads, 1, width / heads]));
}

/**
 * Attention of one token (query, key and value [B, H, 1, D/H]) to the cached tokens and itself, without copying the
 * cache.
 */
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

/** The causal bias [T, T]: 0 for a token itself and those before it, otherwise so low that the weight is exactly 0. */
const causalBias = (tokens: number): Tensor =>
  constant(
    float32(
      Float32Array.from({ length: tokens * tokens }, (_, i) => (i % tokens <= Math.floor(i / tokens) ? 0 : -1e30)),
      [tokens, tokens],
    ),
  );
