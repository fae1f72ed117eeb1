/** The nearest reference image of each query image, by the distance of their features or pixels. */

import { float32 } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import {
  blocks,
  checkDimensions,
  checkFeatures,
  eachDistance,
  type Features,
  rowsOf,
  squaresOf,
} from "./metrics-products.ts";

/** The nearest row of another set for each row. */
export interface Nearest {
  /** The index of the nearest reference of each query: [N]. */
  index: Int32Array;
  /** The Euclidean distance to it: [N]. */
  distance: Float64Array;
}

/**
 * Finds the reference, from parts [M, D], nearest to each query [N, D]; the first if several are equally near. UserError if there
 * are no references, or features are not finite or of different dimensions.
 */
export async function nearest(
  engine: Engine,
  queries: Features,
  references: AsyncIterable<Features> | Iterable<Features>,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Nearest> {
  const metric = "Nearest images";
  checkFeatures(queries, { metric, name: "the query set", least: 0 });
  const [count, width] = queries.shape;
  const index = new Int32Array(count).fill(-1);
  const squared = new Float64Array(count).fill(Infinity);
  const squaresA = squaresOf(queries);
  let before = 0;
  for await (const part of references) {
    checkFeatures(part, { metric, name: "the reference set", least: 0 });
    checkDimensions(metric, width, part.shape[1]);
    const squares = { squaresA, squaresB: squaresOf(part) };
    // A copy of the object, because `blocks` skips half of the blocks of a set with itself.
    for await (const block of blocks(engine, { a: queries, b: { ...part } }, { signal }))
      eachDistance(block, squares, (i, j, distance) => {
        if (distance >= squared[i]) return;
        squared[i] = distance;
        index[i] = before + j;
      });
    before += part.shape[0];
  }
  if (before === 0) throw new UserError({ subject: metric, problem: "there are no reference images" });
  return { index, distance: squared.map(Math.sqrt) };
}

/**
 * Images, bytes [S, S, C] each, as rows [N, S * S * C], scaled so that the distance of two rows is the root of the mean squared
 * difference of their values from 0 to 1.
 */
export function pixelRows(images: readonly Uint8Array[]): Features {
  const width = images[0]?.length ?? 0;
  const scale = 1 / 255 / Math.sqrt(width);
  const data = new Float32Array(images.length * width);
  images.forEach((image, i) => {
    for (let at = 0; at < width; at++) data[i * width + at] = image[at] * scale;
  });
  return float32(data, [images.length, width]);
}

/** Splits features [N, D] into parts [rows, D] for `nearest`, the last may be shorter. Nothing is copied. */
export function* inParts(features: Features, rows = 1024): Generator<Features> {
  for (let from = 0; from < features.shape[0]; from += rows) yield rowsOf(features, from, from + rows);
}

/** A summary of the distances of images to their nearest training images. */
export interface Closeness {
  /** Distances to the nearest training image: the smallest, the 5% quantile and the median. */
  least: number;
  fifth: number;
  median: number;
  /** Number of images that equal a training image byte for byte. */
  copies: number;
  images: number;
}

/** Summarises at least one distance from `nearest`, without reordering the array. */
export function closenessOf(distance: Float64Array): Closeness {
  const sorted = distance.toSorted();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return {
    least: sorted[0],
    fifth: at(0.05),
    median: at(0.5),
    copies: sorted.filter((value) => value === 0).length,
    images: sorted.length,
  };
}

/** The fraction of distances below a limit. At least one distance is needed. */
export const shareBelow = (distance: Float64Array, limit: number): number =>
  distance.filter((value) => value < limit).length / distance.length;
