/** How much memory training takes, counted from its graph; and the micro-batch that fits in what there is. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { peakBytes, type Sizes } from "../graph/cost.ts";
import { modelParameters } from "../model/parameters.ts";
import { type DropoutRates, trainingGraph } from "../model/training.ts";
import { groupSize } from "./step.ts";

/** What Node, onnxruntime, a data set and the held-out likelihood take beside. */
const base = 340e6;
/** onnxruntime keeps the order of its own and rounds sizes up. */
const spare = 1.4;
/** Each thread's own runtime, and onnxruntime's working memory beside the values that are counted. */
const perLane = 60e6;

export interface MemoryOptions extends DropoutRates {
  /** Images per step. */
  batch: number;
  /** Threads that each compute a micro-batch at a time. */
  lanes: number;
}

/** An estimate in bytes of what training takes at most with micro-batches of this size, every patch predicted. */
export function trainingBytes(model: ModelConfig, microBatch: number, { lanes, ...rates }: MemoryOptions): number {
  const weights = 4 * modelParameters(model).reduce((sum, { shape }) => sum + product(shape), 0);
  // Weights, their average, two moments and gradients; of each lane its copy, its gradients and those of a micro-batch,
  // and both of these shared with the main thread.
  const state = 5 * weights + (lanes > 1 ? lanes * 4 + 1 : 2) * weights;
  const values = peakBytes(trainingGraph(model, rates), sizesFor(model, microBatch));
  return base + state + lanes * (perLane + spare * values);
}

/**
 * The largest micro-batch whose training stays within `bytes`. UserError where not even one image at a time does, with
 * what that would take.
 */
export function microBatchWithin(model: ModelConfig, options: MemoryOptions, bytes: number): number {
  const most = Math.ceil(options.batch / options.lanes);
  const needed = trainingBytes(model, 1, options);
  if (needed > bytes)
    throw new UserError(
      `training this model takes about ${gigabytes(needed)} even with one image at a time, but only ${gigabytes(bytes)} are given; give more (--memory), fewer threads (--threads 1) or take a smaller model`,
    );
  let [fits, fails] = [1, most + 1];
  while (fails - fits > 1) {
    const middle = Math.floor((fits + fails) / 2);
    if (trainingBytes(model, middle, options) <= bytes) fits = middle;
    else fails = middle;
  }
  return fits;
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** The sizes that trainingGraph's symbols have when every patch of these images is predicted. */
function sizesFor(model: ModelConfig, images: number): Sizes {
  const levels = placedLevels(model);
  const sizes = new Map<string, number>([["B", images]]);
  let rows = images;
  levels.forEach(({ tokens }, l) => {
    if (l > 0) sizes.set(`R${l}`, rows);
    if (l < levels.length - 1) rows *= tokens;
  });
  const group = Math.min(rows, groupSize(model));
  const rounds = Math.ceil(rows / group);
  const { tokens } = levels.at(-1)!;
  return new Map([...sizes, ["rounds", rounds], ["G", group], ["pixels", rounds * group * tokens], ["bounds", rounds + 1], ["levels", levels.length]]); // prettier-ignore
}
