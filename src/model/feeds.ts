/**
 * The inputs of the loss's graphs. `LossFeeds` says what there is; the graph's side declares each input and the host's
 * side gives it a value, both named by its place in them.
 */

import type { ModelConfig } from "../config/model.ts";
import { type DType, type HostTensor } from "../core/arrays.ts";
import { input } from "../graph/build.ts";
import type { Shape } from "../graph/shape.ts";
import { nameAt } from "../graph/tree.ts";
import type { Tensor } from "../graph/tensor.ts";

/** Which patches of each level are hidden and which go down, level by level. R rows, M patches that go down. */
export type IndexFeeds<T> = {
  /** [R, N], of levels that hide patches: 1 for a hidden one. */
  mask: (T | undefined)[];
  /** [M, c]: the rows that are gathered for their conditions; R * N for none. */
  take: T[];
  /** [R * N, c]: where each row went, or M * c. */
  inverse: T[];
};

/** Weights [C] of the channels' nats, of the pixels and of each level's guiding pixels. */
export type ChannelWeights<T> = { pixels: T; guiding: (T | undefined)[] };

export type LossFeeds<T = HostTensor> = IndexFeeds<T> & {
  /** Bytes [B, S, S, C] and labels [B], where the number of classes stands for the null class. */
  images: T;
  labels: T;
  weights: ChannelWeights<T>;
};

/** Of trainingGraph, which takes the squares of the last level above the pixels in groups of G. */
export type TrainingFeeds<T = HostTensor> = LossFeeds<T> & {
  /** How many groups there are, and the pixels that end each of them: [rounds + 1]. */
  rounds?: T;
  bounds?: T;
  /** G */
  groupRows?: T;
  /** [rounds, G]: 0 for squares that only fill up a group. */
  valid?: T;
  /** With dropout: what masks follow from, and the number of each level's first row in the whole batch. */
  seed?: T;
  first?: T;
};

/** Declares an input by its place in `TrainingFeeds`. */
export const feed = (name: Exclude<keyof TrainingFeeds, "weights">, dtype: DType, shape: Shape): Tensor =>
  input(name, dtype, shape);

export const levelFeed = (name: keyof IndexFeeds<unknown>, l: number, dtype: DType, shape: Shape): Tensor =>
  input(nameAt(name, l), dtype, shape);

export const weightsFeed = ({ channels }: ModelConfig) => ({
  pixels: (): Tensor => input(nameAt("weights", "pixels"), "float32", [channels]),
  guiding: (l: number): Tensor => input(nameAt("weights", "guiding", l), "float32", [channels]),
});
