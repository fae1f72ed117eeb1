/**
 * The pixel level, which every model ends with, and the guiding pixel: a small causal transformer over the sequence
 * [condition, first channel, second channel, ..], whose logits are tied to the codebooks of the 256 byte values.
 */

import { z } from "zod";
import { channelLetters } from "../core/normalize.ts";
import { embedding, flatten, linear, pick, reshape, stack } from "../graph/build.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { fewTokensBlock, type FewPast, vitBlockNext } from "../layers/few-tokens.ts";
import { dense, norm, type Training } from "../layers/layers.ts";
import { blocks, declareDense, declareNorm, type Declare } from "../layers/parameters.ts";
import { declareVit } from "../layers/vit.ts";
import { transformer } from "./schema.ts";

export const pixelSchema = z.strictObject({ kind: z.literal("pixel"), ...transformer });
export type PixelLevel = z.infer<typeof pixelSchema>;

/** The small network of the guiding pixel, as published. */
export const guidingPixelLevel: PixelLevel = { kind: "pixel", width: 128, depth: 3, heads: 4 };
export const guidingPixelRedWeight = 5;

export interface PixelNetwork {
  channels: number;
  conditionWidth: number;
  /**
   * Logits of each channel given the channels before it: condition [K, D'], bytes [K, C] int32 -> C tensors [K, 256].
   */
  teach(given: { condition: Tensor; bytes: Tensor; training?: Training }): Tensor[];
  /** The token [M, D] before the first channel. */
  first(condition: Tensor): Tensor;
  /** An empty key/value cache for `next`. */
  past(): FewPast[];
  /** Logits [M, 256] of channel c after its token [M, D] and the tokens in `past`; adds the token to `past`. */
  next(c: number, token: Tensor, past: FewPast[]): Tensor;
  /** The token of channel c's bytes [M]. */
  token(c: number, bytes: Tensor): Tensor;
}

/** `conditionWidth` is the width of the conditions from the level above. */
export function pixelNetwork(
  declare: Declare,
  { width, depth, heads }: PixelLevel,
  { channels, conditionWidth }: { channels: number; conditionWidth: number },
): PixelNetwork {
  const letters = channelLetters(channels);
  const condition = declareDense(declare, "cond_proj", [width, conditionWidth]);
  const codebooks = letters.map((letter) => declare(`${letter}_codebook.weight`, [256, width], "codebook"));
  const ln = declareNorm(declare, "ln", width);
  const transformer = blocks(declare, depth, (block) => declareVit(block, { width, heads }));
  const last = declareNorm(declare, "norm", width);
  const biases = letters.map((letter) => declare(`${letter}_mlm.bias`, [1, 256], "zeros"));

  /** x [K, D] -> logits [K, 256], tied to the channel's codebook. */
  const logits = (c: number, x: Tensor): Tensor => linear(x, codebooks[c], reshape(biases[c], [256]));

  return {
    channels,
    conditionWidth,
    teach({ condition: given, bytes, training }) {
      const rest = codebooks
        .slice(0, -1) // the prediction after the last channel's token is never used
        .map((codebook, c) => embedding(codebook, pick(bytes, 1, c)));
      let x = norm(ln, flatten(stack([dense(condition, given), ...rest]))); // [C * K, D]
      for (const block of transformer) x = fewTokensBlock(block, x, { tokens: channels, training });
      const out = reshape(norm(last, x), [channels, dim(given, 0), width]);
      return letters.map((_, c) => logits(c, pick(out, 0, c)));
    },
    first: (given) => dense(condition, given),
    past: () => transformer.map(() => ({ keys: [], values: [] })),
    next(c, token, past) {
      let x = norm(ln, token);
      transformer.forEach((block, i) => (x = vitBlockNext(block, x, past[i])));
      return logits(c, norm(last, x));
    },
    token: (c, bytes) => embedding(codebooks[c], bytes),
  };
}
