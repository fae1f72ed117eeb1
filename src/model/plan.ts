/**
 * Which patches of each level are predicted and passed down in one teacher-forced pass, as index arrays for the graph.
 */

import { float32, type HostTensor, int32, uint8 } from "../core/arrays.ts";
import { type ModelConfig, placedLevels } from "../config/model.ts";
import { directionsRead, neighbour } from "../levels/grid.ts";
import type { Order } from "../levels/order.ts";
import { kindOf } from "../levels/table.ts";
import type { ChannelWeights, IndexFeeds, LossFeeds, TrainingFeeds } from "./feeds.ts";

/** The rows of a level: for each the image it belongs to and its place there, counted level by level. */
export interface Rows {
  image: Int32Array;
  place: Int32Array;
}

/**
 * Which patches are hidden, for a level whose kind hides any: 1 or 0 for each of rows * tokens, row by row. Levels are
 * numbered from 0; `order` is the kind's order.
 */
export type Masks = (level: number, rows: Rows, tokens: number, order?: Order) => Uint8Array;

/**
 * Which of a level's predicted patches (1 in `predicted`, rows * tokens) are passed down to the next level: for each
 * its weight in the loss, relative to the mean over those passed down, or 0 if it is not.
 */
export type Share = (level: number, rows: Rows, predicted: Uint8Array) => Float32Array;

export interface Plan {
  feeds: IndexFeeds<HostTensor>;
  /** The number of rows of each level, followed by the number of predicted pixels. */
  rows: number[];
  /** Which patches are predicted, for each level above the pixels: rows * tokens of 1 or 0. */
  masks: Uint8Array[];
  /** Which of them are passed down, as a `Share` returns it. */
  down: Float32Array[];
  /** The weights in the loss of each level's rows, followed by those of the pixels that are passed down. */
  rowWeights: Float32Array[];
}

/**
 * The index inputs of lossGraph for a batch. If a level's kind hides patches, the hidden ones are predicted and passed
 * down; otherwise all are. With a `share` (trainingGraph only), only some of the predicted patches are passed down.
 */
export function planPass(config: ModelConfig, batch: number, masks: Masks, share?: Share): Plan {
  const feeds: IndexFeeds<HostTensor> = { mask: [], take: [], inverse: [] };
  const counts = [batch];
  let rows: Rows = { image: Int32Array.from({ length: batch }, (_, i) => i), place: new Int32Array(batch) };
  const given: Uint8Array[] = [];
  const below: Float32Array[] = [];
  const rowWeights: Float32Array[] = [new Float32Array(batch).fill(1)];
  placedLevels(config).forEach((level, l) => {
    const { tokens, grid } = level;
    const { order } = kindOf(level);
    const { hides } = order;
    const count = counts[l];
    const mask = hides ? masks(l, rows, tokens, order) : new Uint8Array(count * tokens).fill(1);
    const down = share ? share(l, rows, mask) : Float32Array.from(mask);
    const { take, inverse } = takeNeighbours(down, grid, level.conditionsRead);
    feeds.take.push(take);
    feeds.inverse.push(inverse);
    feeds.mask.push(hides ? float32(Float32Array.from(mask), [count, tokens]) : undefined);
    given.push(mask);
    below.push(down);
    const { weight, ...next } = rowsBelow({ ...rows, weight: rowWeights[l] }, down, tokens);
    rows = next;
    counts.push(weight.length);
    rowWeights.push(weight);
  });
  return { feeds, rows: counts, masks: given, down: below, rowWeights };
}

/**
 * The same feeds for trainingGraph. For its loop, the squares of the last level above the pixels come in groups of at
 * most `group`, all of equal size; the last group is padded with squares in which nothing is predicted. Without `group`,
 * they are for the graph without a loop.
 */
export function inGroups(
  config: ModelConfig,
  { feeds, rows, masks, down, rowWeights }: Plan,
  group?: number,
): Omit<TrainingFeeds, "images" | "labels" | "weights"> {
  const levels = placedLevels(config);
  const last = levels.length - 1;
  const { tokens } = levels[last];
  const weightOf = {
    squares: levels.map(({ guidingPixel }, l) => (guidingPixel ? float32(rowWeights[l], [rows[l]]) : undefined)),
    pixels: float32(rowWeights[last + 1], [rows[last + 1]]),
  };
  if (last === 0 || group === undefined)
    return {
      ...feeds,
      inverse: feeds.inverse.with(last, reshaped(feeds.inverse[last], [rows[last], tokens])),
      weightOf,
    };
  const above = levels[last - 1].conditionsRead;
  const rounds = Math.ceil(rows[last] / group);
  const size = Math.ceil(rows[last] / rounds);
  const total = rounds * size;

  const take = new Int32Array(total * above).fill(rows[last - 1] * levels[last - 1].tokens);
  take.set(feeds.take[last - 1].data as Int32Array);
  const nowhere = rows[last] * above;
  const inverse = (feeds.inverse[last - 1].data as Int32Array).map((at) => (at === nowhere ? total * above : at));

  // Within a group, the indices of patches and of predicted pixels are relative to its first one.
  const bounds = new BigInt64Array(rounds + 1);
  const pixelInverse = new Int32Array(total * tokens);
  const pixelTake = (feeds.take[last].data as Int32Array).slice();
  let pixel = 0;
  for (let round = 0; round < rounds; round++) {
    const first = pixel;
    const from = round * size * tokens;
    const to = Math.min(from + size * tokens, down[last].length);
    for (let at = from; at < to; at++) if (down[last][at]) pixelTake[pixel++] -= from;
    pixelInverse.fill(pixel - first, from, from + size * tokens);
    for (let i = first; i < pixel; i++) pixelInverse[from + pixelTake[i]] = i - first;
    bounds[round + 1] = BigInt(pixel);
  }
  const mask = new Float32Array(total * tokens);
  mask.set(masks[last]);
  const squareWeights = new Float32Array(total);
  squareWeights.set(rowWeights[last]);
  return {
    take: [...feeds.take.slice(0, last - 1), int32(take, [rounds, size, above]), int32(pixelTake, [pixel, 1])],
    inverse: [
      ...feeds.inverse.slice(0, last - 1),
      int32(inverse, feeds.inverse[last - 1].shape),
      int32(pixelInverse, [rounds, size, tokens]),
    ],
    mask: [...feeds.mask.slice(0, last), feeds.mask[last] && float32(mask, [rounds, size, tokens])],
    bounds: { dtype: "int64", shape: [rounds + 1], data: bounds },
    rounds: { dtype: "int64", shape: [], data: BigInt64Array.of(BigInt(rounds)) },
    groupRows: int32([size], []),
    weightOf: {
      ...weightOf,
      squares: weightOf.squares.with(last, weightOf.squares[last] && float32(squareWeights, [rounds, size])),
    },
  };
}

const reshaped = (tensor: HostTensor, shape: number[]): HostTensor => ({ ...tensor, shape });

interface WeightedRows extends Rows {
  weight: Float32Array;
}

function rowsBelow({ image, place, weight }: WeightedRows, down: Float32Array, tokens: number): WeightedRows {
  const chosen = marked(down);
  const below = { image: new Int32Array(chosen), place: new Int32Array(chosen), weight: new Float32Array(chosen) };
  let at = 0;
  down.forEach((one, i) => {
    if (!one) return;
    const row = Math.floor(i / tokens);
    below.image[at] = image[row];
    below.place[at] = place[row] * tokens + (i % tokens);
    below.weight[at++] = weight[row] * one;
  });
  return below;
}

/** Images and their labels. */
export interface Batch {
  /** [B, S, S, C] bytes */
  images: Uint8Array;
  /** [B]; the number of classes is the label of the null class. */
  labels: Int32Array;
}

/** The images from .. to of a batch. */
export function partOf({ images, labels }: Batch, from: number, to: number): Batch {
  const bytes = images.length / labels.length;
  return { images: images.subarray(from * bytes, to * bytes), labels: labels.subarray(from, to) };
}

/** The image and label inputs of lossGraph and trainingGraph. */
export const planFeeds = (
  { imageSize, channels }: ModelConfig,
  { images, labels }: Batch,
): Pick<LossFeeds, "images" | "labels"> => ({
  images: uint8(images, [labels.length, imageSize, imageSize, channels]),
  labels: int32(labels, [labels.length]),
});

/**
 * Weights of the channels' nats that turn the loss into a mean over `totals` (the rows of each level), with a larger
 * weight for the first channel: the training loss with the model's red weight, or the mean over channels with 1.
 */
export function channelWeights(
  config: ModelConfig,
  totals: readonly number[],
  { redWeight = 1, guidingRedWeight = 1 }: { redWeight?: number; guidingRedWeight?: number } = {},
): ChannelWeights<HostTensor> {
  const { channels } = config;
  const means = (first: number, rows: number) =>
    float32(
      Array.from({ length: channels }, (_, c) => (c === 0 ? first : 1) / (first + channels - 1) / rows),
      [channels],
    );
  return {
    pixels: means(redWeight, totals.at(-1)!),
    guiding: placedLevels(config).map(({ guidingPixel }, l) =>
      guidingPixel ? means(guidingRedWeight, totals[l]) : undefined,
    ),
  };
}

/** All feeds of lossGraph for a batch computed in one pass. */
export const lossFeeds = (
  config: ModelConfig,
  batch: Batch,
  plan: Plan,
  redWeights: { redWeight?: number; guidingRedWeight?: number } = {},
): LossFeeds => ({
  ...plan.feeds,
  ...planFeeds(config, batch),
  weights: channelWeights(config, plan.rows, redWeights),
});

/** The part of a plan's masks, and of its passed-down patches, that belongs to the images from .. to. */
export function masksOfPart(
  config: ModelConfig,
  { masks, down }: Pick<Plan, "masks" | "down">,
  { from, to }: { from: number; to: number },
): { masks: Masks; share: Share } {
  let [first, end] = [from, to];
  const parts = placedLevels(config).map(({ tokens }, l) => {
    const range = [first * tokens, end * tokens] as const;
    const part = { mask: masks[l].subarray(...range), down: down[l].subarray(...range) };
    first = marked(down[l].subarray(0, range[0]));
    end = first + marked(part.down);
    return part;
  });
  return { masks: (level) => parts[level].mask, share: (level) => parts[level].down };
}

/** How many entries are not 0. */
export function marked(mask: Uint8Array | Float32Array): number {
  let count = 0;
  for (const one of mask) if (one) count++;
  return count;
}

/**
 * For the chosen patches of each row: which rows to gather as their conditions (`take`), and where each row went
 * (`inverse`).
 */
export function takeNeighbours(
  chosen: Uint8Array | Float32Array,
  grid: number,
  count: number,
): { take: HostTensor; inverse: HostTensor; taken: number } {
  const tokens = grid * grid;
  const total = chosen.length;
  const taken = marked(chosen);
  const take = new Int32Array(taken * count).fill(total);
  const inverse = new Int32Array(total * count).fill(taken * count);
  const around = directionsRead(count);
  const neighbours = around.map((direction) =>
    Int32Array.from({ length: tokens }, (_, at) => neighbour(at, grid, direction)),
  );
  let at = 0;
  for (let i = 0; i < total; i++) {
    if (!chosen[i]) continue;
    const place = i % tokens;
    for (let d = 0; d < count; d++) {
      const other = neighbours[d][place];
      if (other < 0) continue;
      const from = i - place + other;
      take[at * count + d] = from;
      inverse[from * count + d] = at * count + d;
    }
    at++;
  }
  return { take: int32(take, [taken, count]), inverse: int32(inverse, [total, count]), taken };
}

/**
 * Whether a pixel mask with rows of `size` marks anything in the square of `side` pixels whose first pixel is at
 * `corner`.
 */
export function marksIn(mask: Uint8Array, corner: number, { size, side }: { size: number; side: number }): boolean {
  for (let at = corner, p = 0; p < side; p++, at += size)
    for (let q = 0; q < side; q++) if (mask[at + q] !== 0) return true;
  return false;
}
