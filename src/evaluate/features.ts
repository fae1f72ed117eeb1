/** Features of images by any feature network, collected for the metrics. */

import { float32, type HostTensor, uint8 } from "../core/arrays.ts";
import { inOrder } from "../data/in-order.ts";
import type { Engine } from "../engine/engine.ts";
import { openInception } from "./inception-features.ts";
import type { Features } from "./metrics-products.ts";
import { gatherStatistics, type Statistics } from "./statistics.ts";

/** A network that computes features of images, to compare them by. */
export interface FeatureNetwork {
  /** Its name in outputs. */
  name: string;
  /** `inception` is the network that FID and KID are defined with; `own` is one that this program trained. */
  kind: "inception" | "own";
  /** Number of features of an image: D. */
  width: number;
  /** Pixels per side, if it accepts only one size. */
  imageSize?: number;
  /** Batches that it computes at once, if several. */
  ahead?: number;
  /** Opaque RGB bytes [B, S, S, 3] to features [B, D] and logits [B, classes]. The signal stops what runs elsewhere. */
  run(
    images: HostTensor,
    options?: { signal?: AbortSignal },
  ): Promise<{ features: HostTensor<Float32Array>; logits: HostTensor<Float32Array> }>;
  /** Frees its memory and threads. It cannot be used afterwards. */
  dispose(): Promise<void>;
}

/** FID's Inception-v3 with the weights of a safetensors file: the last pooling layer, and logits without their bias. */
export async function inceptionNetwork(engine: Engine, path: string): Promise<FeatureNetwork> {
  const { run, dispose } = await openInception(engine, path, ["2048", "logits_unbiased"]);
  return {
    name: "Inception-v3",
    kind: "inception",
    width: 2048,
    async run(images) {
      const { 2048: features, logits_unbiased: logits } = await run(images);
      return { features, logits };
    },
    dispose,
  };
}

/** The features, logits and statistics of a set of images. */
export interface MeasuredSet {
  /** [N, D] */
  features: Features;
  /** [N, classes] */
  logits: Features;
  statistics: Statistics;
}

/** The options of `measure`. */
export interface MeasureOptions {
  /** Pixels per side of all images. */
  size: number;
  /** Images per run of the network; results do not depend on it. */
  batch?: number;
  /** Called after each batch with the number of images so far. */
  onImages?: (done: number) => void;
  signal?: AbortSignal;
}

/**
 * Features, logits and statistics of a stream of opaque RGB images, bytes [size, size, 3]. `name` is the set's in errors.
 * UserError if there are fewer than two images, or features are not finite.
 */
export async function measure(
  engine: Engine,
  { network, name }: { network: FeatureNetwork; name: string },
  images: AsyncIterable<Uint8Array>,
  { size, batch = 16, onImages, signal }: MeasureOptions,
): Promise<MeasuredSet> {
  const gathering = gatherStatistics(engine, { name });
  const parts: { features: HostTensor<Float32Array>; logits: HostTensor<Float32Array> }[] = [];
  let done = 0;
  const run = (waiting: readonly Uint8Array[], stoppable: { signal: AbortSignal }) => {
    const bytes = new Uint8Array(waiting.length * size * size * 3);
    waiting.forEach((image, i) => bytes.set(image, i * size * size * 3));
    return network.run(uint8(bytes, [waiting.length, size, size, 3]), stoppable);
  };
  for await (const part of inOrder(inBatches(images, batch), run, { ahead: network.ahead ?? 1, signal })) {
    parts.push(part);
    await gathering.add(part.features);
    onImages?.((done += part.features.shape[0]));
  }
  return {
    features: joined(parts.map(({ features }) => features)),
    logits: joined(parts.map(({ logits }) => logits)),
    statistics: await gathering.statistics(),
  };
}

/** Items in lists of a size; the last one may be shorter. */
export async function* inBatches<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let waiting: T[] = [];
  for await (const item of items) {
    waiting.push(item);
    if (waiting.length < size) continue;
    yield waiting;
    waiting = [];
  }
  if (waiting.length > 0) yield waiting;
}

/** Concatenates the rows of several tensors. */
function joined(parts: readonly HostTensor<Float32Array>[]): Features {
  const width = parts[0]?.shape[1] ?? 0;
  const count = parts.reduce((sum, { shape }) => sum + shape[0], 0);
  const data = new Float32Array(count * width);
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return float32(data, [count, width]);
}
