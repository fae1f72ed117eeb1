/** How much memory training takes, counted from its graphs; and the settings that fit in what there is. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { peakBytes, sizeOf, type Sizes } from "../graph/cost.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, type Tree } from "../graph/tree.ts";
import { lossGraph } from "../model/loss.ts";
import { modelParameters } from "../model/parameters.ts";
import { type TrainingOptions, trainingParts } from "../model/training.ts";
import { groupSize } from "./step.ts";

/** What Node, onnxruntime, a data set and the held-out likelihood take beside. */
const base = 340e6;
/** onnxruntime keeps the order of its own and rounds sizes up. */
const spare = 1.4;
/** Each thread's own runtime, and onnxruntime's working memory beside the values that are counted. */
const perLane = 60e6;

/** The options of `settingsWithin`. */
export interface MemoryOptions extends TrainingOptions {
  /** Images per step. */
  batch: number;
  /** Threads that each compute a micro-batch at a time. */
  lanes: number;
  /** Decay of the average of the weights, 0 where there is none. */
  ema?: number;
}

/** An estimate in bytes of what training takes at most with micro-batches of this size, every patch predicted. */
export function trainingBytes(
  model: ModelConfig,
  microBatch: number,
  { lanes, ema = 1, ...options }: MemoryOptions,
): number {
  const weights = weightBytes(model);
  const sizes = sizesFor(model, microBatch);
  const parts = trainingParts(model, options);
  const outputs = parts.map(({ backward }) => bytesOf({ d: backward.d, dCheckpoint: backward.dCheckpoint }, sizes));
  const handedOut = Math.max(...outputs);
  // Weights, their average, two moments and gradients; of each lane its copy, its gradients and those shared with the main
  // thread, which shares the weights; and what a part hands out, as onnxruntime has it and as we get it.
  const state = (ema > 0 ? 5 : 4) * weights + (lanes > 1 ? lanes * (3 * weights + handedOut) + weights : 2 * handedOut);
  const kept = parts.reduce((sum, { forward }) => sum + bytesOf(forward, sizes), 0);
  const values = Math.max(...parts.flatMap(({ forward, backward }) => [peakBytes(named(forward), sizes), peakBytes(named(backward), sizes)])); // prettier-ignore
  const likelihood = peakBytes({ nats: lossGraph(model).nats }, sizes);
  return base + state + Math.max(lanes * (perLane + kept + spare * values), spare * likelihood);
}

const weightBytes = (model: ModelConfig): number =>
  4 * modelParameters(model).reduce((sum, { shape }) => sum + product(shape), 0);

const bytesOf = (tensors: Tree<Tensor>, sizes: Sizes): number =>
  Object.values(named(tensors)).reduce(
    (sum, { shape }) => sum + 4 * product(shape.map((dim) => sizeOf(dim, sizes))),
    0,
  );

/**
 * The largest micro-batch whose training stays within `bytes`; with checkpointing where that is asked for, and where
 * not even one image at a time fits without it. UserError where nothing fits, with what it would take.
 */
export function settingsWithin(
  model: ModelConfig,
  options: MemoryOptions,
  bytes: number,
): { microBatch: number; checkpointing: boolean } {
  const most = Math.ceil(options.batch / options.lanes);
  const checkpointing = options.checkpointing || trainingBytes(model, 1, options) > bytes;
  const takes = (microBatch: number) => trainingBytes(model, microBatch, { ...options, checkpointing });
  const needed = takes(1);
  if (needed > bytes) throw refusal(model, options, { needed, bytes });
  let [fits, fails] = [1, most + 1];
  while (fails - fits > 1) {
    const middle = Math.floor((fits + fails) / 2);
    if (takes(middle) <= bytes) fits = middle;
    else fails = middle;
  }
  return { microBatch: fits, checkpointing };
}

function refusal(
  model: ModelConfig,
  { lanes, ema = 1 }: MemoryOptions,
  { needed, bytes }: { needed: number; bytes: number },
): UserError {
  return new UserError({
    problem: `training this model takes about ${byteCount(needed)} even with one image at a time and checkpointing, but only ${byteCount(bytes)} are given`,
    hint: [
      { do: "allow more memory", setting: "memory" },
      ...(lanes > 1 ? [{ do: "use one thread", setting: "threads", value: "1" }] : []),
      ...(ema > 0
        ? [
            {
              do: `keep no average of the weights, which saves ${byteCount(weightBytes(model))}`,
              setting: "ema",
              value: "0",
            },
          ]
        : []),
      "take a smaller model",
    ],
  });
}

/** The sizes that the graphs' symbols have when every patch of these images is predicted. */
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
  sizes.set(`R${levels.length}`, rows * tokens);
  return new Map([...sizes, ["rounds", rounds], ["G", group], ["pixels", rounds * group * tokens], ["bounds", rounds + 1], ["levels", levels.length]]); // prettier-ignore
}
