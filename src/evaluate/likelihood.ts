/** Bits per dimension of images under a model, image by image. Knows nothing about files and terminals. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import { float32, type HostTensor, type Value } from "../core/arrays.ts";
import { derive, seedKey } from "../core/random.ts";
import { type Split } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import type { ExternalModel } from "../files/external.ts";
import { formFor } from "../graph/form.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named, runTree, type Tree } from "../graph/tree.ts";
import { kindOf } from "../levels/table.ts";
import { lossGraph } from "../model/loss.ts";
import { modelParameters } from "../model/parameters.ts";
import { planFeeds } from "../model/plan.ts";
import { addPredictions, type Breakdown, emptyBreakdown } from "./breakdown.ts";
import { passOver, type PassView, type Predicted, viewsInOrder } from "./passes.ts";

/**
 * `exact`: for AR models, by the chain rule. `estimate`: the published method for MAR models. It hides a uniformly drawn number
 * of patches of every square and predicts them, and is unbiased for the mean over generation orders. `order`: for MAR models,
 * exact for one random generation order, by the chain rule over its steps of one patch. An image's likelihood is a mean over all
 * orders, so the means of the last two are upper bounds of its bits.
 */
export type Likelihood = "exact" | "estimate" | "order";

/** The options of `likelihoods`. */
export interface LikelihoodOptions {
  /** For models with MAR levels: the exact likelihood of one order instead of the estimate. */
  inOrder?: boolean;
  /** Number of estimates, or orders, to average for each image. */
  passes?: number;
  /** Whether to condition on the images' labels instead of the null class. */
  conditional?: boolean;
  seed?: number;
  /** Views of images per run. */
  batch?: number;
  /** Whether to compute a `Breakdown` of each image, which takes some time. */
  breakdown?: boolean;
  /** Whether to keep a batch's memory for the next one, which is faster; the default. */
  keepMemory?: boolean;
  /** A session from `likelihoodSession` for the same model and options, left open; by default a new one, disposed of at the end. */
  session?: LikelihoodSession;
  /** Only images `from` to `to - 1`, to resume or to share the work; by default all. */
  from?: number;
  to?: number;
  /** Counts only these pixels of each image, [S, S] of 1 or 0, given all others, which come first in the order. Not for estimates. */
  drawn?: (index: number) => Uint8Array;
  /** Called after each batch: the image of its last view, and the share of that image's views that have been computed, 0 to 1. */
  onBatch?: (image: number, share: number) => void;
  signal?: AbortSignal;
}

/** The likelihood of one image. */
export interface ImageLikelihood {
  index: number;
  label: number;
  /** Bits per dimension: of all predicted values, and by channel. */
  bits: number;
  channels: number[];
  /** Additional bits per dimension for guiding pixels, 0 if there are none. */
  guiding: number;
  /** Bits of every value: [S, S, C]; each counted once for exact likelihoods, weighted for estimates. */
  map: Float32Array;
  /** If requested. */
  breakdown?: Breakdown;
}

/** The kind of likelihood computed for a model with these options. */
export const likelihoodOf = (config: ModelConfig, { inOrder = false }: LikelihoodOptions = {}): Likelihood =>
  placedLevels(config).every((level) => !kindOf(level).order.hides) ? "exact" : inOrder ? "order" : "estimate";

/** A model with its weights in a file of a folder, or as values, which may be on the engine's device. */
export type MeasuredModel = { config: ModelConfig } & (
  | (Pick<ExternalModel, "folder" | "weights" | "check"> & { values?: undefined })
  | { folder?: undefined; check?: undefined; weights?: undefined; values: ReadonlyMap<string, Float32Array | Value> }
);

/** The view of an image for one estimate. */
export const estimateView = (image: number, { seed = 0, pass = 0 } = {}): PassView => ({
  image,
  key: derive(derive(derive(seedKey(seed), 11), image), pass),
  shown: { kind: "estimate" },
});

/** lossGraph's nats of every pixel and guiding pixel, and the inputs of the breakdown. */
export interface LikelihoodOutputs<T> {
  pixels: T;
  probability?: T;
  right?: T;
  guiding: (T | undefined)[];
}

/** The compiled graph of a model's likelihood. */
export interface LikelihoodSession {
  /** Computes the nats of one batch of views. */
  run(feeds: Tree<Value>): Promise<LikelihoodOutputs<HostTensor>>;
  /** Frees its memory and threads. */
  dispose(): Promise<void>;
}

/** Opens a session for repeated calls of `likelihoods`. The caller disposes of it. */
export async function likelihoodSession(
  engine: Engine,
  { config, folder, weights, check }: MeasuredModel,
  { breakdown, keepMemory }: Pick<LikelihoodOptions, "breakdown" | "keepMemory"> = {},
): Promise<LikelihoodSession> {
  const { each, likeliest } = lossGraph(config);
  const outputs = { pixels: each.pixels, ...(breakdown ? likeliest : {}), guiding: each.guiding };
  const session = await engine.session(writeOnnx(named(outputs), { weights, ...formFor(engine) }), {
    folder,
    check,
    keepMemory,
  });
  return { run: (feeds) => runTree(session, outputs, feeds), dispose: () => session.dispose() };
}

/**
 * How many images share batches. Batches end with the last of them, so their numbers, to the last bit, do not depend on
 * where a measure began or who computes it.
 */
export const imagesTogether = (config: ModelConfig, options: LikelihoodOptions): number =>
  Math.max(1, Math.floor((options.batch ?? 64) / viewsOfImage(config, options)));

/** The number of views of a whole image. */
function viewsOfImage(config: ModelConfig, { inOrder, passes = 1 }: LikelihoodOptions): number {
  const each = likelihoodOf(config, { inOrder }) === "exact" ? 1 : passes;
  return each * (inOrder ? viewsInOrder(config, 0, estimateView(0)).length : 1);
}

/** Yields the likelihoods of a split's images in order. They depend only on the image, its index, the seed and the options. */
export async function* likelihoods(
  engine: Engine,
  model: MeasuredModel,
  split: Split,
  options: LikelihoodOptions = {},
): AsyncGenerator<ImageLikelihood> {
  const { config, values } = model;
  const { inOrder = false, conditional = false, seed = 0, batch = 64, from = 0, to = split.count, signal } = options;
  const passes = likelihoodOf(config, options) === "exact" ? 1 : (options.passes ?? 1);
  const { imageSize: size, channels, classes } = config;
  if (options.drawn && likelihoodOf(config, options) === "estimate")
    throw new Error("likelihoods: an estimate hides random patches; the likelihood of a part needs an order (inOrder)");
  const session = options.session ?? (await likelihoodSession(engine, model, options));
  const parameters: Record<string, Value> = {};
  if (values)
    for (const { name, shape } of modelParameters(config)) {
      const value = values.get(name)!;
      parameters[name] = value instanceof Float32Array ? float32(value, shape) : value;
    }
  const bytes = size * size * channels;
  const sums = new Map<number, Sum>();

  async function run(views: readonly PassView[]): Promise<void> {
    const { feeds, pixels, known, squares } = passOver(config, views, { inOrder });
    const images = new Uint8Array(views.length * bytes);
    views.forEach(({ image }, i) => images.set(split.image(image), i * bytes));
    const labels = Int32Array.from(views, ({ image }) => (conditional ? split.labels[image] : classes.length));
    const results = await session.run({ ...parameters, ...feeds, ...planFeeds(config, { images, labels }) });
    const spread = (
      { data }: HostTensor,
      { image, weight, ...at }: Predicted,
      put: (sum: Sum, value: number, at: number) => void,
    ) => {
      const nats = data as Float32Array;
      for (let i = 0; i < image.length; i++)
        for (let c = 0; c < channels; c++)
          put(sums.get(image[i])!, weight[i] * nats[i * channels + c], (at.y[i] * size + at.x[i]) * channels + c);
    };
    spread(results.pixels, pixels, (sum, value, at) => (sum.map[at] += value));
    results.guiding.forEach((nats, l) => nats && spread(nats, squares[l], (sum, value) => (sum.guiding += value)));
    const { pixels: nats, probability, right } = results;
    if (options.breakdown)
      addPredictions((image) => sums.get(image)!.breakdown!, {
        pixels,
        known,
        results: { nats, probability: probability!, right: right! },
      });
    for (const { image } of views) sums.get(image)!.left--;
  }

  function finished(index: number, { map, guiding, breakdown }: Sum): ImageLikelihood {
    const bit = 1 / Math.LN2 / passes;
    const own = new Float64Array(channels);
    const drawn = options.drawn?.(index).reduce((sum, one) => sum + one, 0) ?? size ** 2;
    map.forEach((nats, at) => (own[at % channels] += nats));
    return {
      index,
      label: split.labels[index],
      bits: (own.reduce((a, b) => a + b) * bit) / drawn / channels,
      channels: Array.from(own, (nats) => (nats * bit) / drawn),
      guiding: (guiding * bit) / drawn / channels,
      map: Float32Array.from(map, (nats) => nats * bit),
      breakdown,
    };
  }

  const whole = viewsOfImage(config, options);
  let waiting: PassView[] = [];
  const runWaiting = async () => {
    signal?.throwIfAborted();
    await run(waiting);
    const { image } = waiting.at(-1)!;
    const { views, left } = sums.get(image)!;
    options.onBatch?.(image, (views - left) / Math.max(views, whole));
    waiting = [];
  };
  const together = imagesTogether(config, options);
  try {
    const end = Math.min(split.count, Math.ceil(to / together) * together);
    for (let image = from - (from % together); image < end; image++) {
      const breakdown = options.breakdown ? emptyBreakdown(config) : undefined;
      const sum: Sum = { map: new Float64Array(bytes), guiding: 0, breakdown, views: 0, left: 0 };
      sums.set(image, sum);
      for (let pass = 0; pass < passes; pass++) {
        const view = { ...estimateView(image, { seed, pass }), drawn: options.drawn?.(image) };
        for (const one of inOrder ? viewsInOrder(config, image, view) : [view]) {
          sum.views++;
          sum.left++;
          if (waiting.push(one) === batch) await runWaiting();
        }
      }
      if (waiting.length > 0 && ((image + 1) % together === 0 || image === end - 1)) await runWaiting();
      for (const [index, sum] of sums) {
        if (sum.left > 0) break;
        sums.delete(index);
        if (index >= from && index < to) yield finished(index, sum);
      }
    }
  } finally {
    if (!options.session) await session.dispose();
  }
}

interface Sum {
  map: Float64Array;
  guiding: number;
  breakdown?: Breakdown;
  /** Views so far, and how many of them have not been computed. */
  views: number;
  left: number;
}
