/**
 * Estimates the memory that training needs from its graphs, and chooses settings that fit into the available memory.
 */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { gpuTensorBytes, largestBytes, peakBytes, sizeOf, type Sizes } from "../graph/cost.ts";
import type { Tensor } from "../graph/tensor.ts";
import { named, type Tree } from "../graph/tree.ts";
import { lossGraph } from "../model/loss.ts";
import { modelParameters, type Parameter } from "../model/parameters.ts";
import { type TrainingOptions, trainingParts } from "../model/training.ts";
import { muonGraph } from "./muon.ts";
import { muonParameters } from "./optimizer.ts";
import { groupSize } from "./step.ts";

/** Memory of Node, onnxruntime, the data set and the held-out likelihood. */
const base = 340e6;
/** A factor on the counted values, because onnxruntime orders operations differently and rounds sizes up. */
const spare = 1.4;
/** The same for Muon, which processes large tensors one after another: 472 MB more than AdamW for the preset `base`. */
const muonSpare = 3;
/** Memory of each thread's runtime, and onnxruntime's working memory besides the counted values. */
const perLane = 60e6;

/** The options of `settingsWithin`. */
export interface MemoryOptions extends TrainingOptions {
  /** Images per step. */
  batch: number;
  /** Threads that each compute a micro-batch at a time. */
  lanes: number;
  /** Decay of the average of the weights; 0 for none. */
  ema?: number;
  optimizer?: TrainingConfig["optimizer"];
}

/** Estimates the peak memory of training in bytes, with micro-batches of this size and every patch predicted. */
export function trainingBytes(
  model: ModelConfig,
  microBatch: number,
  { lanes, ema = 1, optimizer = "adamw", ...options }: MemoryOptions,
): number {
  const weights = weightBytes(model);
  const sizes = sizesFor(model, microBatch);
  const parts = trainingParts(model, options);
  const outputs = parts.map(({ backward }) => bytesOf({ d: backward.d, dCheckpoint: backward.dCheckpoint }, sizes));
  const handedOut = Math.max(...outputs);
  // Weights, their average, two moments and gradients. For each lane: its copy of the weights, its gradients, and the
  // gradients shared with the main thread, which also shares the weights. And the outputs of a part, both in
  // onnxruntime and as returned to us.
  const matrices = muonParameters(model, { optimizer });
  // Muon has no second moment, but the momenta and updates of all matrices of one shape side by side.
  const ofMuon = bytesOfParameters(matrices) + muonSpare * peakBytes(muonGraph(matrices), new Map());
  const onHost =
    (ema > 0 ? 5 : 4) * weights + ofMuon + (lanes > 1 ? lanes * (3 * weights + handedOut) + weights : 2 * handedOut);
  // Without the loop the state is on a GPU, where the optimiser's run holds the old state, the new one and the gradients,
  // also joined by group, and with Muon the orthogonal matrices.
  const onGpu = (ema > 0 ? 9 : 7) * weights + handedOut + (optimizer === "muon" ? 2 * weights : 0);
  const state = options.loop === false ? onGpu : onHost;
  const kept = parts.reduce((sum, { forward }) => sum + bytesOf(forward, sizes), 0);
  const values = Math.max(...parts.flatMap(({ forward, backward }) => [peakBytes(named(forward), sizes), peakBytes(named(backward), sizes)])); // prettier-ignore
  const likelihood = peakBytes({ nats: lossGraph(model).nats }, sizes);
  return base + state + Math.max(lanes * (perLane + kept + spare * values), spare * likelihood);
}

/** Whether every tensor of a step fits into a buffer of a GPU. */
function tensorsFit(model: ModelConfig, microBatch: number, options: MemoryOptions): boolean {
  const sizes = sizesFor(model, microBatch);
  const largest = trainingParts(model, options).flatMap(({ forward, backward }) =>
    [forward, backward].map((graph) => largestBytes(named(graph), sizes)),
  );
  return Math.max(...largest) <= gpuTensorBytes;
}

const weightBytes = (model: ModelConfig): number => bytesOfParameters(modelParameters(model));

const bytesOfParameters = (parameters: readonly Parameter[]): number =>
  4 * parameters.reduce((sum, { shape }) => sum + product(shape), 0);

const bytesOf = (tensors: Tree<Tensor>, sizes: Sizes): number =>
  Object.values(named(tensors)).reduce(
    (sum, { shape }) => sum + 4 * product(shape.map((dim) => sizeOf(dim, sizes))),
    0,
  );

/**
 * The largest micro-batch with which training stays within `bytes` and, on a GPU, no tensor of several images exceeds a
 * buffer. Checkpointing is used if requested, or if not even one image at a time fits without it. Throws a UserError,
 * with the memory needed, if nothing fits.
 */
export function settingsWithin(
  model: ModelConfig,
  options: MemoryOptions,
  bytes: number,
): { microBatch: number; checkpointing: boolean } {
  const most = Math.ceil(options.batch / options.lanes);
  const checkpointing = options.checkpointing || trainingBytes(model, 1, options) > bytes;
  const takes = (microBatch: number) => trainingBytes(model, microBatch, { ...options, checkpointing });
  const onGpu = options.loop === false;
  const fit = (microBatch: number) =>
    takes(microBatch) <= bytes && (!onGpu || tensorsFit(model, microBatch, { ...options, checkpointing }));
  const needed = takes(1);
  if (needed > bytes) throw tooLittleMemory(model, options, { needed, bytes });
  let [fits, fails] = [1, most + 1];
  while (fails - fits > 1) {
    const middle = Math.floor((fits + fails) / 2);
    if (fit(middle)) fits = middle;
    else fails = middle;
  }
  return { microBatch: fits, checkpointing };
}

function tooLittleMemory(
  model: ModelConfig,
  { lanes, ema = 1 }: MemoryOptions,
  { needed, bytes }: { needed: number; bytes: number },
): UserError {
  return new UserError({
    problem: `training this model takes about ${byteCount(needed)} even with one image at a time and checkpointing, but only ${byteCount(bytes)} is available`,
    hint: [
      { do: "allow more memory", setting: "memory" },
      ...(lanes > 1 ? [{ do: "use one thread", setting: "threads", value: "1" }] : []),
      ...(ema > 0
        ? [
            {
              do: `train without an average of the weights, which saves ${byteCount(weightBytes(model))}`,
              setting: "ema",
              value: "0",
            },
          ]
        : []),
      "use a smaller model",
    ],
  });
}

/** The sizes of the graphs' symbolic dimensions when every patch of these images is predicted. */
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
