/** Bits per dimension of simple methods on a data set, as reference points for a model's likelihood. */

import sharp, { type Sharp } from "sharp";
import type { Dataset, Split } from "./dataset.ts";
import { inOrder } from "./in-order.ts";

/** The result of another method on the same images. */
export interface ReferencePoint {
  name: string;
  /** Bits per dimension (per byte of an image). */
  bits: number;
}

/** How reference points are computed. */
export interface ReferenceOptions {
  /** Use at most this many held-out images, evenly spaced. */
  limit?: number;
  /** Called with the number of images encoded so far and the total. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

const trainLimit = 5000;
/** Fewer large images are encoded: at the highest effort, a 256x256 image takes seconds. */
const encodedPixels = 1000 * 32 ** 2;
const leastEncoded = 16;

/**
 * "uniform": every byte equally likely. "histogram": each channel's byte frequencies in the training images (with
 * add-one smoothing, so that no byte is impossible). "PNG" and "lossless WebP": the mean file size of a held-out image
 * at the highest effort, including the header.
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
    // Only a few at a time, because an encoding cannot be interrupted.
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

/** At most `limit` images of a split, evenly spaced, each read on demand. */
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

/** The smaller of two PNGs, with and without row filters; images with few colours compress better without. */
async function pngBytes(image: Sharp, channels: number): Promise<number> {
  // `effort` would turn on a palette, which is lossy.
  const lengths = [true, false].map(async (adaptiveFiltering) => {
    const png = image.clone().toColourspace(channels < 3 ? "b-w" : "srgb");
    return (await png.png({ compressionLevel: 9, adaptiveFiltering, palette: false }).toBuffer()).length;
  });
  return Math.min(...(await Promise.all(lengths)));
}

/** WebP has no grey format; grey stored as RGB costs almost nothing. */
async function webpBytes(image: Sharp): Promise<number> {
  return (await image.toColourspace("srgb").webp({ lossless: true, effort: 6, quality: 100, exact: true }).toBuffer())
    .length;
}
