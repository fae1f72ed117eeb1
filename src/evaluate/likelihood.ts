/** Bits per dimension of images under a model, image by image. Knows no files and no terminals. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import { derive, seedKey } from "../core/random.ts";
import { type Split } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { writeOnnx, type WeightData } from "../graph/onnx.ts";
import { lossGraph } from "../model/loss.ts";
import { planFeeds } from "../model/plan.ts";
import { passOver, type Predicted, type View, viewsInOrder } from "./passes.ts";

/**
 * `exact`: AR models, by the chain rule. `estimate`: the published way for MAR, which hides a uniform count of patches of
 * every square and predicts them; unbiased for the mean over generation orders. `order`: of MAR, exact for one
 * random generation order, by the chain rule over its steps of one patch. The likelihood of an image is a mean over all
 * orders, so the mean of the last two is an upper bound of its bits.
 */
export type Likelihood = "exact" | "estimate" | "order";

export interface LikelihoodOptions {
  /** Of models with MAR levels the exact likelihood of one order instead of the estimate. */
  inOrder?: boolean;
  /** Estimates, or orders, that are averaged for each image. */
  passes?: number;
  /** With the images' labels; by default with the null class. */
  conditional?: boolean;
  seed?: number;
  /** Views of images that are computed together. */
  batch?: number;
  /** Images before this one are left out: they were done before. */
  from?: number;
  signal?: AbortSignal;
}

export interface ImageLikelihood {
  index: number;
  label: number;
  /** Bits per dimension: of all values, and of each channel's. */
  bits: number;
  channels: number[];
  /** Bits per dimension that guiding pixels take beside, 0 where there are none. */
  guiding: number;
  /** Bits of every value: [S, S, C]; each once for exact likelihoods, else weighted by what it stands for. */
  map: Float32Array;
}

/** Which likelihood a model has. */
export const likelihoodOf = (config: ModelConfig, { inOrder = false }: LikelihoodOptions = {}): Likelihood =>
  placedLevels(config).every(({ kind }) => kind === "ar") ? "exact" : inOrder ? "order" : "estimate";

interface Model {
  config: ModelConfig;
  folder: string;
  weights: (name: string) => WeightData;
}

/** The images of a split one after another. An image's number depends on its index, the seed and the options alone. */
export async function* likelihoods(
  engine: Engine,
  { config, folder, weights }: Model,
  split: Split,
  options: LikelihoodOptions = {},
): AsyncGenerator<ImageLikelihood> {
  const { inOrder = false, conditional = false, seed = 0, batch = 64, from = 0, signal } = options;
  const passes = likelihoodOf(config, options) === "exact" ? 1 : (options.passes ?? 1);
  const { imageSize: size, channels, classes } = config;
  const { each } = lossGraph(config);
  const outputs = {
    pixels: each.pixels,
    ...Object.fromEntries([...each.guiding].map(([l, x]) => [`guiding.${l}`, x])),
  };
  const session = await engine.session(writeOnnx(outputs, { weights }), { folder });
  const bytes = size * size * channels;
  const sums = new Map<number, { map: Float64Array; guiding: number; left: number }>();

  async function run(views: readonly View[]): Promise<void> {
    const { feeds, pixels, squares } = passOver(config, views, { inOrder });
    const images = new Uint8Array(views.length * bytes);
    views.forEach(({ image }, i) => images.set(split.image(image), i * bytes));
    const labels = Int32Array.from(views, ({ image }) => (conditional ? split.labels[image] : classes.length));
    const results = await session.run({ ...feeds, ...planFeeds(config, { images, labels }) });
    const spread = (
      name: string,
      { image, weight, ...at }: Predicted,
      put: (sum: Sum, value: number, at: number) => void,
    ) => {
      const nats = results[name].data as Float32Array;
      for (let i = 0; i < image.length; i++)
        for (let c = 0; c < channels; c++)
          put(sums.get(image[i])!, weight[i] * nats[i * channels + c], (at.y[i] * size + at.x[i]) * channels + c);
    };
    spread("pixels", pixels, (sum, value, at) => (sum.map[at] += value));
    for (const l of each.guiding.keys()) spread(`guiding.${l}`, squares[l], (sum, value) => (sum.guiding += value));
    for (const { image } of views) sums.get(image)!.left--;
  }

  function finished(index: number, { map, guiding }: Sum): ImageLikelihood {
    const bit = 1 / Math.LN2 / passes;
    const own = new Float64Array(channels);
    map.forEach((nats, at) => (own[at % channels] += nats));
    return {
      index,
      label: split.labels[index],
      bits: (own.reduce((a, b) => a + b) * bit) / bytes,
      channels: Array.from(own, (nats) => (nats * bit) / size ** 2),
      guiding: (guiding * bit) / bytes,
      map: Float32Array.from(map, (nats) => nats * bit),
    };
  }

  try {
    let waiting: View[] = [];
    for (let image = from; image < split.count; image++) {
      const key = derive(derive(seedKey(seed), 11), image);
      const views = Array.from({ length: passes }, (_, pass) =>
        inOrder ? viewsInOrder(config, image, derive(key, pass)) : [{ image, key: derive(key, pass) }],
      ).flat();
      sums.set(image, { map: new Float64Array(bytes), guiding: 0, left: views.length });
      waiting.push(...views);
      while (waiting.length >= batch || (image === split.count - 1 && waiting.length > 0)) {
        signal?.throwIfAborted();
        await run(waiting.slice(0, batch));
        waiting = waiting.slice(batch);
      }
      for (const [index, sum] of sums) {
        if (sum.left > 0) break;
        sums.delete(index);
        yield finished(index, sum);
      }
    }
  } finally {
    await session.dispose();
  }
}

interface Sum {
  map: Float64Array;
  guiding: number;
  left: number;
}
