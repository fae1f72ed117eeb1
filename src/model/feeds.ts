/**
 * The inputs of the loss graphs. `LossFeeds` lists them; the graph side declares each input and the host side gives it
 * a value, and both derive its name from its place in these types.
 */

import type { ModelConfig } from "../config/model.ts";
import { type DType, type HostTensor } from "../core/arrays.ts";
import { input } from "../graph/build.ts";
import type { Shape } from "../graph/shape.ts";
import { nameAt } from "../graph/tree.ts";
import type { Tensor } from "../graph/tensor.ts";

/** Which patches of each level are hidden and which are passed down, level by level. R rows, M patches passed down. */
export type IndexFeeds<T> = {
  /** [R, N], for levels that hide patches: 1 for a hidden patch. */
  mask: (T | undefined)[];
  /** [M, c]: the rows gathered as conditions; R * N for a neighbour outside the grid. */
  take: T[];
  /** [R * N, c]: the place in `take` of each row, or M * c if it is not taken. */
  inverse: T[];
};

/** Weights [C] of each channel's nats, for the pixels and for each level's guiding pixels. */
export type ChannelWeights<T> = { pixels: T; guiding: (T | undefined)[] };

export type LossFeeds<T = HostTensor> = IndexFeeds<T> & {
  /** Bytes [B, S, S, C] and labels [B]; the number of classes is the label of the null class. */
  images: T;
  labels: T;
  weights: ChannelWeights<T>;
};

/** The inputs of trainingGraph, which processes the squares of the last level above the pixels in groups of G. */
export type TrainingFeeds<T = HostTensor> = LossFeeds<T> & {
  /** The number of groups, and the pixel at which each group begins or ends: [rounds + 1]. */
  rounds?: T;
  bounds?: T;
  /** G, the number of squares in a group. */
  groupRows?: T;
  /**
   * Weights in the loss relative to the mean: of the squares [R] of each level with guiding pixels, and of the pixels
   * [K]. In groups, those of the last level are [rounds, G], 0 for squares that only pad a group.
   */
  weightOf: { squares: (T | undefined)[]; pixels: T };
  /** With dropout: the seed of the masks, and the index of each level's first row within the whole batch. */
  seed?: T;
  first?: T;
};

/** Declares an input by its place in `TrainingFeeds`. */
export const feed = (name: Exclude<keyof TrainingFeeds, "weights" | "weightOf">, dtype: DType, shape: Shape): Tensor =>
  input(name, dtype, shape);

export const levelFeed = (name: keyof IndexFeeds<unknown>, l: number, dtype: DType, shape: Shape): Tensor =>
  input(nameAt(name, l), dtype, shape);

/** The weights of a level's squares in the loss. */
export const squareWeightFeed = (l: number, shape: Shape): Tensor =>
  input(nameAt("weightOf", "squares", l), "float32", shape);

/** The weights of the pixels in the loss: [pixels]. */
export const pixelWeightFeed = (): Tensor => input(nameAt("weightOf", "pixels"), "float32", ["pixels"]);

export const weightsFeed = ({ channels }: ModelConfig) => ({
  pixels: (): Tensor => input(nameAt("weights", "pixels"), "float32", [channels]),
  guiding: (l: number): Tensor => input(nameAt("weights", "guiding", l), "float32", [channels]),
});
