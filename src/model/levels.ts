/** One level of the fractal as a function on tensors: tokens in, conditions for the level below out. */

import type { ArLevel, MarLevel, PixelLevel, PlacedLevel } from "../config/model.ts";
import { prefixTokens } from "../config/model.ts";
import { channelLetters } from "../config/normalize.ts";
import {
  add,
  concat,
  constant,
  embedding,
  flatten,
  less,
  linear,
  pick,
  reshape,
  slice,
  stack,
  where,
} from "../graph/build.ts";
import { over } from "../graph/shape.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { dense, llamaBlock, norm, scope, type Training, vitBlock, type Weights } from "./layers.ts";
import { fewTokensBlock } from "./few-tokens.ts";
import { rotaryOf } from "./rotary.ts";

export type PlacedAr = PlacedLevel & ArLevel;
export type PlacedMar = PlacedLevel & MarLevel;

/** Is given what each block but the first begins with, x [R * T, D], and gives what it is to go on from. */
export type Between = (x: Tensor, block: number) => Tensor;

/** Conditions [R, c, D'] (the middle one last) and, where there is one, the guiding pixel [R, C] -> prefix [R, P, D]. */
export function prefix(weights: Weights, level: PlacedLevel, conditions: Tensor, guidingPixel?: Tensor): Tensor {
  const embedded = dense(weights, "cond_emb", flatten(conditions));
  const tokens = reshape(embedded, [dim(conditions, 0), dim(conditions, 1), level.width]);
  if (!guidingPixel) return tokens;
  const pixel = dense(weights, "pix_proj", guidingPixel);
  return concat([reshape(pixel, [dim(pixel, 0), 1, level.width]), tokens], 1);
}

/** Adds positions from .. to and normalises: x [R, to - from, D]. */
export const placed = (weights: Weights, x: Tensor, from: number, to: number): Tensor =>
  norm(weights, "patch_emb_ln", add(x, slice(weights("pos_embed_learned"), 1, from, to)));

/** Patches [R * N, C p^2] embedded, those with mask [R, N] above 0.5 as the mask token -> [R, N, D]. */
export function maskedPatches(weights: Weights, level: PlacedMar, patches: Tensor, mask: Tensor): Tensor {
  const rows = dim(patches, 0);
  const hidden = less(constantHalf, reshape(mask, [rows, 1]));
  const shown = dense(weights, "patch_emb", patches);
  const tokens = where(hidden, reshape(weights("mask_token"), [1, level.width]), shown);
  return reshape(tokens, [over(rows, level.tokens), level.tokens, level.width]);
}

const constantHalf = constant({ dtype: "float32", shape: [], data: Float32Array.of(0.5) });

/** All blocks of a MAR level over placed tokens [R, T, D]; `read` takes the tokens whose outputs are wanted: [R, r, D]. */
export function marBlocks(
  weights: Weights,
  level: PlacedMar,
  tokens: Tensor,
  { read, training, between }: { read: (x: Tensor) => Tensor; training?: Training; between?: Between },
): Tensor {
  const count = dim(tokens, 1) as number;
  let x = flatten(tokens);
  for (let i = 0; i < level.depth; i++) {
    if (between && i > 0) x = between(x, i);
    x = vitBlock(scope(weights, `blocks.${i}.`), x, {
      tokens: count,
      heads: level.heads,
      qkNorm: level.qkNorm,
      training,
      read: i === level.depth - 1 ? read : undefined,
    });
  }
  return norm(weights, "norm", x);
}

/** The conditions of all patches, teacher forced: -> [R * N, D]. */
export function teachMar(
  weights: Weights,
  level: PlacedMar,
  {
    patches,
    mask,
    prefix: before,
    ...options
  }: { patches: Tensor; mask: Tensor; prefix: Tensor; training?: Training; between?: Between },
): Tensor {
  const total = prefixTokens(level) + level.tokens;
  const tokens = placed(weights, concat([before, maskedPatches(weights, level, patches, mask)], 1), 0, total);
  const read = (x: Tensor) => slice(x, 1, prefixTokens(level), total);
  return flatten(marBlocks(weights, level, tokens, { read, ...options }));
}

/** The same for an AR level: position n has seen the condition and the patches before n. */
export function teachAr(
  weights: Weights,
  level: PlacedAr,
  {
    patches,
    prefix: before,
    training,
    between,
  }: { patches: Tensor; prefix: Tensor; training?: Training; between?: Between },
): Tensor {
  const rows = dim(before, 0);
  const shown = reshape(dense(weights, "patch_emb", patches), [rows, level.tokens, level.width]);
  const tokens = placed(weights, concat([before, slice(shown, 1, 0, level.tokens - 1)], 1), 0, level.tokens);
  const positions = {
    dtype: "int64",
    shape: [1, level.tokens],
    data: BigInt64Array.from({ length: level.tokens }, (_, i) => BigInt(i)),
  } as const;
  const angles = rotaryOf(level.grid, level.width / level.heads, constant(positions));
  let x = flatten(tokens);
  for (let i = 0; i < level.depth; i++) {
    if (between && i > 0) x = between(x, i);
    ({ x } = llamaBlock(scope(weights, `blocks.${i}.`), x, {
      tokens: level.tokens,
      heads: level.heads,
      qkNorm: level.qkNorm,
      rotary: angles,
      training,
    }));
  }
  return norm(weights, "norm", x);
}

/** Logits of each channel given those before it: condition [K, D'], bytes [K, C] int32 -> C tensors [K, 256]. */
export function teachPixels(
  weights: Weights,
  level: PixelLevel,
  { condition, bytes, training }: { condition: Tensor; bytes: Tensor; training?: Training },
): Tensor[] {
  const channels = dim(bytes, 1) as number;
  const letters = channelLetters(channels);
  const rows = dim(condition, 0);
  const first = dense(weights, "cond_proj", condition); // [K, W]
  const rest = letters
    .slice(0, -1) // nobody reads what the last channel's token predicts
    .map((letter, c) => embedding(weights(`${letter}_codebook.weight`), pick(bytes, 1, c)));
  let x = norm(weights, "ln", flatten(stack([first, ...rest]))); // [C * K, W]
  for (let i = 0; i < level.depth; i++)
    x = fewTokensBlock(scope(weights, `blocks.${i}.`), x, { tokens: channels, heads: level.heads, training });
  const out = reshape(norm(weights, "norm", x), [channels, rows, level.width]);
  return letters.map((letter, c) => channelLogits(weights, letter, pick(out, 0, c)));
}

/** x [K, W] -> logits [K, 256], tied to the channel's codebook. */
export const channelLogits = (weights: Weights, letter: string, x: Tensor): Tensor =>
  linear(x, weights(`${letter}_codebook.weight`), reshape(weights(`${letter}_mlm.bias`), [256]));
