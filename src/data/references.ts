/** What simple methods reach on a data set, in bits per dimension: what a model's likelihood is to be compared with. */

import sharp, { type Sharp } from "sharp";
import type { Dataset, Split } from "./dataset.ts";
import { inOrder } from "./in-order.ts";

/** Bits per dimension that another method takes of the same images. */
export interface ReferencePoint {
  name: string;
  /** Bits per dimension (per byte of an image). */
  bits: number;
}

/** How reference points are computed. */
export interface ReferenceOptions {
  /** The most held-out images that are looked at, evenly spaced. */
  limit?: number;
  /** Files made, of how many. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

const trainLimit = 5000;
/** Of large images fewer are encoded: at the highest effort one of 256x256 takes seconds. */
const encodedPixels = 1000 * 32 ** 2;
const leastEncoded = 16;

/**
 * "uniform": every byte alike. "histogram": each channel's bytes as often as in the training images (every count one
 * higher, so that no byte is impossible). "PNG" and "lossless WebP": the mean size of a held-out image's file, at the
 * highest effort, its header included.
 */
export async function referencePoints(
  { train, heldOut, size, channels }: Dataset,
  { limit = 2000, onProgress, signal }: ReferenceOptions = {},
): Promise<ReferencePoint[]> {
  const images = evenly(heldOut, limit);
  const some = evenly(heldOut, Math.min(limit, Math.max(leastEncoded, Math.floor(encodedPixels / size ** 2))));
  const counts = histograms(evenly(train, trainLimit), { channels, signal });
  const raw = { width: size, height: size, channels: channels as 1 | 2 | 3 | 4 };
  const values = some.length * size * size * channels;
  let done = 0;
  const encoded = async (encode: (image: Sharp) => Promise<number>) => {
    let bytes = 0;
    // Few at once: what has begun cannot be stopped.
    for await (const length of inOrder(some, (image) => encode(sharp(image(), { raw })), { ahead: 4, signal })) {
      bytes += length;
      onProgress?.(++done, 2 * some.length);
    }
    return (bytes * 8) / values;
  };
  return [
    { name: "uniform", bits: 8 },
    { name: "histogram", bits: crossEntropy(images, { counts, channels, signal }) },
    { name: "PNG", bits: await encoded((image) => pngBytes(image, channels)) },
    { name: "lossless WebP", bits: await encoded((image) => webpBytes(image)) },
  ];
}

/** At most `limit` images of a split, evenly spaced, each read when it is called for. */
const evenly = ({ count, image }: Split, limit: number): (() => Uint8Array)[] => {
  const length = Math.min(count, limit);
  return Array.from({ length }, (_, i) => () => image(Math.floor((i * count) / length)));
};

type Images = readonly (() => Uint8Array)[];

/** How often each byte occurs in each channel: [channels, 256]. */
function histograms(images: Images, { channels, signal }: { channels: number; signal?: AbortSignal }): Float64Array {
  const counts = new Float64Array(channels * 256);
  for (const image of images) {
    signal?.throwIfAborted();
    image().forEach((value, i) => counts[(i % channels) * 256 + value]++);
  }
  return counts;
}

function crossEntropy(
  images: Images,
  { counts, ...options }: { counts: Float64Array; channels: number; signal?: AbortSignal },
): number {
  const seen = histograms(images, options);
  let bits = 0;
  let values = 0;
  for (let channel = 0; channel < options.channels; channel++) {
    const total = counts.subarray(channel * 256, channel * 256 + 256).reduce((a, b) => a + b, 256);
    for (let at = channel * 256; at < channel * 256 + 256; at++) {
      bits -= seen[at] * Math.log2((counts[at] + 1) / total);
      values += seen[at];
    }
  }
  return bits / values;
}

/** The smaller of PNG without row filters and with: images of few colours do better without. */
async function pngBytes(image: Sharp, channels: number): Promise<number> {
  // `effort` would turn on a palette, which is lossy.
  const lengths = [true, false].map(async (adaptiveFiltering) => {
    const png = image.clone().toColourspace(channels < 3 ? "b-w" : "srgb");
    return (await png.png({ compressionLevel: 9, adaptiveFiltering, palette: false }).toBuffer()).length;
  });
  return Math.min(...(await Promise.all(lengths)));
}

/** WebP has no grey: it is stored as RGB, which costs next to nothing. */
async function webpBytes(image: Sharp): Promise<number> {
  return (await image.toColourspace("srgb").webp({ lossless: true, effort: 6, quality: 100, exact: true }).toBuffer())
    .length;
}
