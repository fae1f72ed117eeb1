/** Estimates the memory that decoding a picture takes, from its header. Knows nothing of decoders. */

import type { Metadata } from "sharp";
import { limits } from "../core/limits.ts";

export type Header = Pick<
  Metadata,
  "format" | "channels" | "depth" | "space" | "hasAlpha" | "isProgressive" | "chromaSubsampling"
>;

/**
 * Bytes per pixel that a decoder holds besides the pixels it returns, measured with sharp 0.35: a progressive or interlaced
 * picture, and formats without rows, are decoded as a whole.
 */
function decoderBytes({ format, channels, depth, isProgressive, chromaSubsampling }: Header): number {
  switch (format) {
    case "jpeg":
      return isProgressive ? (chromaSubsampling === "4:2:0" ? 3 : 6) : 0;
    case "webp":
    case "gif":
      return 5;
    case "heif":
      return 12;
    case "tiff":
      return channels * (sampleBytes[depth] ?? 4); // a strip may hold the whole picture
    default:
      return isProgressive ? channels * (sampleBytes[depth] ?? 4) : 0;
  }
}

const sampleBytes: Record<string, number> = { uchar: 1, char: 1, ushort: 2, short: 2, double: 8, dpcomplex: 16 };
const isBytes = (depth: string) => depth === "uchar" || depth === "ushort";

/** The crop halves the width, then the height, while the whole picture is still there. */
const cropShare = 0.75;

/** Bytes per pixel while a picture is decoded and cropped, at most. */
export function bytesPerPixel(header: Header): number {
  const { channels, depth, space, hasAlpha } = header;
  const colours = Math.max(1, channels - (hasAlpha ? 1 : 0));
  // Floats stay in memory together with an aligned copy and the bytes made from them.
  const decoded = isBytes(depth) ? channels : 9 * channels;
  // Removing alpha, or converting CMYK, makes a second picture.
  const converted = hasAlpha ? colours : space === "cmyk" ? 3 : 0;
  const cropped = cropShare * Math.max(converted, channels);
  return Math.max(decoderBytes(header) + decoded, decoded + converted + cropped);
}

/** The largest number of pixels of such a picture. */
export const mostPixels = (header: Header): number =>
  Math.min(limits.pixels, Math.floor(limits.decodingBytes / bytesPerPixel(header)));
