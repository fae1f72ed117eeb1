/** The pre-norm ViT block of MAR and pixel levels. */

import { add, erf, gelu, linear, mul, reshape, slice, transpose } from "../graph/build.ts";
import { over } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { attention, dense, drop, normedProjection, splitHeads, type Training, unitRms } from "./layers.ts";
import { declareDense, declareNorm, type Declare, type Dense, type Norm } from "./parameters.ts";

export interface VitBlock {
  norm1: Norm;
  qkv: Required<Dense>;
  proj: Dense;
  norm2: Norm;
  fc1: Required<Dense>;
  fc2: Dense;
  heads: number;
  /** Whether the queries and keys of each head are normalised. */
  qkNorm?: boolean;
}

/** The size of a transformer block. */
export interface BlockSize {
  width: number;
  heads: number;
  qkNorm?: boolean;
}

export const declareVit = (declare: Declare, { width, heads, qkNorm }: BlockSize): VitBlock => ({
  norm1: declareNorm(declare, "norm1", width),
  qkv: declareDense(declare, "attn.qkv", [3 * width, width], { matrices: 3 }),
  proj: declareDense(declare, "attn.proj", [width, width], { start: "residual" }),
  norm2: declareNorm(declare, "norm2", width),
  fc1: declareDense(declare, "mlp.fc1", [4 * width, width]),
  fc2: declareDense(declare, "mlp.fc2", [width, 4 * width], { start: "residual" }),
  heads,
  qkNorm,
});

/**
 * Applies norm2, fc1, GELU and fc2: [.., D] -> [.., D]. In training, fc1 computes u = x / sqrt(2), GELU is u (1 + erf
 * u) / sqrt(2), and the factors are folded into the weights: its gradient takes 7 passes over the data, compared with
 * 11 for the Gelu operation.
 */
export function mlp({ norm2, fc1: first, fc2 }: VitBlock, x: Tensor, training?: Training): Tensor {
  const fc1 = normedProjection(norm2, first, x, training);
  const scaled = (t: Tensor) => (training ? mul(t, Math.SQRT1_2) : t);
  const inner = linear(fc1.normed, scaled(fc1.weight), scaled(fc1.bias));
  const hidden = drop(training ? mul(inner, add(erf(inner), 1)) : gelu(inner), (r) => r.projection, training);
  const out = linear(hidden, scaled(fc2.weight), fc2.bias);
  return drop(out, (r) => r.projection, training);
}

/**
 * A pre-norm ViT block: [N, D] -> [N, D], N = B * tokens. With `read`, which selects tokens [B, R, D] from [B, T, D],
 * only their outputs are computed; all tokens still serve as keys and values.
 */
export function vitBlock(
  block: VitBlock,
  x: Tensor,
  { tokens, training, read }: { tokens: number; training?: Training; read?: (x: Tensor) => Tensor },
): Tensor {
  const { heads, qkNorm } = block;
  const { normed, ...qkv } = normedProjection(block.norm1, block.qkv, x, training);
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
    drop(dense(block.proj, mixed), (r) => r.projection, training),
  );
  return add(attended, mlp(block, attended, training));
}
