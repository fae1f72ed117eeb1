/** The tokens of a square, shared by AR and MAR levels: guiding pixel, conditions, patches and learned positions. */

import { add, concat, flatten, reshape, slice } from "../graph/build.ts";
import { dim, type Tensor } from "../graph/tensor.ts";
import { dense, norm } from "../layers/layers.ts";
import { declareDense, declareNorm, type Declare, type Dense, type Norm } from "../layers/parameters.ts";
import type { Above, Placed } from "./kind.ts";

/** The parameters that turn the inputs of a square into tokens. */
export interface Embedding {
  width: number;
  positions: Tensor; // [1, T, D]
  patches: Dense;
  norm: Norm;
  conditions: Dense;
  guidingPixel?: Dense;
}

/** Declares the embedding, with a learned position for each of `positions` tokens. */
export function declareEmbedding(
  declare: Declare,
  { width, channels, patch, conditionWidth, guidingPixel }: Placed,
  positions: number,
): Embedding {
  return {
    width,
    positions: declare("pos_embed_learned", [1, positions, width], "normal"),
    patches: declareDense(declare, "patch_emb", [width, channels * patch ** 2]),
    norm: declareNorm(declare, "patch_emb_ln", width),
    conditions: declareDense(declare, "cond_emb", [width, conditionWidth]),
    guidingPixel: guidingPixel ? declareDense(declare, "pix_proj", [width, channels]) : undefined,
  };
}

/** The tokens before the patches: [R, P, D]. */
export function prefix(embedding: Embedding, { conditions, colour }: Above): Tensor {
  const { width } = embedding;
  const embedded = dense(embedding.conditions, flatten(conditions));
  const tokens = reshape(embedded, [dim(conditions, 0), dim(conditions, 1), width]);
  if (!embedding.guidingPixel || !colour) return tokens;
  const pixel = dense(embedding.guidingPixel, colour);
  return concat([reshape(pixel, [dim(pixel, 0), 1, width]), tokens], 1);
}

/** Adds the learned positions from .. to and normalises: x [R, to - from, D]. */
export const placed = (embedding: Embedding, x: Tensor, from: number, to: number): Tensor =>
  norm(embedding.norm, add(x, slice(embedding.positions, 1, from, to)));
