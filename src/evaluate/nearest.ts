/** The nearest of many images to each of a few, by the distance of their features or of their bytes. */

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

/** For each row its nearest row of another set. */
export interface Nearest {
  /** Of each query the number of its nearest reference: [N]. */
  index: Int32Array;
  /** Their Euclidean distance: [N]. */
  distance: Float64Array;
}

/**
 * Of references, [M, D] part by part, the nearest to each query [N, D]; the first one where several are. A UserError where
 * there are no references, or features that are no numbers or of other dimensions.
 */
export async function nearest(
  engine: Engine,
  queries: Features,
  references: AsyncIterable<Features> | Iterable<Features>,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Nearest> {
  const metric = "Nearest images";
  checkFeatures(queries, { metric, name: "the set to look for", least: 0 });
  const [count, width] = queries.shape;
  const index = new Int32Array(count).fill(-1);
  const squared = new Float64Array(count).fill(Infinity);
  const squaresA = squaresOf(queries);
  let before = 0;
  for await (const part of references) {
    checkFeatures(part, { metric, name: "the set to look among", least: 0 });
    checkDimensions(metric, width, part.shape[1]);
    const squares = { squaresA, squaresB: squaresOf(part) };
    // Another object: of a set with itself there would be half of the blocks.
    for await (const block of blocks(engine, { a: queries, b: { ...part } }, { signal }))
      eachDistance(block, squares, (i, j, distance) => {
        if (distance >= squared[i]) return;
        squared[i] = distance;
        index[i] = before + j;
      });
    before += part.shape[0];
  }
  if (before === 0) throw new UserError(`${metric}: there are none to look among`);
  return { index, distance: squared.map(Math.sqrt) };
}

/**
 * Images, bytes [S, S, C] each, as rows [N, S * S * C] of their values from 0 to 1, so scaled that a distance is the root
 * of the mean squared difference.
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

/** Features [N, D] part by part, [rows, D] each and fewer in the last, as `nearest` takes them; nothing is copied. */
export function* inParts(features: Features, rows = 1024): Generator<Features> {
  for (let from = 0; from < features.shape[0]; from += rows) yield rowsOf(features, from, from + rows);
}

/** A summary of the distances of images to their nearest training images. */
export interface Closeness {
  /** Distances to the nearest training image: the smallest, those that 5% and half are below. */
  least: number;
  fifth: number;
  median: number;
  /** Images that are a training image, byte for byte. */
  copies: number;
  images: number;
}

/** Of at least one distance, as `nearest` gives them; they are left in their order. */
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

/** Share of at least one distance that is below a limit. */
export const shareBelow = (distance: Float64Array, limit: number): number =>
  distance.filter((value) => value < limit).length / distance.length;
