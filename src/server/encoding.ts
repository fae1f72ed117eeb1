/** Encodes images as PNG, WebP or JPEG, enlarged, with their origin in the metadata. Independent of requests. */

import sharp from "sharp";
import { enlarged } from "../pictures/bitmap.ts";
import { imagePng, onWhite } from "../pictures/grid.ts";

export const imageFormats = ["png", "webp", "jpeg"] as const;
export type ImageFormat = (typeof imageFormats)[number];

/** The format and scale of the returned images. */
export interface Look {
  format: ImageFormat;
  /** How many times each pixel is repeated in both directions. */
  scale: number;
  /** 0 to 100. WebP is lossless at 100 and lossy below; JPEG is always lossy, PNG never. */
  quality: number;
}

export const plainLook: Look = { format: "png", scale: 1, quality: 100 };

interface EncodeOptions {
  /** Pixels per side and channels, as drawn by the model. */
  side: number;
  channels: number;
  look?: Look;
  /** Written as text chunks of a PNG, or as JSON in the EXIF description of other formats. */
  text?: Record<string, string>;
}

export async function encodeImage(
  image: Uint8Array,
  { side, channels, look: { format, scale, quality } = plainLook, text = {} }: EncodeOptions,
): Promise<Uint8Array> {
  const { data: pixels } = enlarged({ data: image, width: side, height: side }, scale);
  const size = side * scale;
  if (format === "png") return imagePng(pixels, { size, channels, text });
  const opaque = format === "jpeg" && channels % 2 === 0; // JPEG has no alpha
  const data = opaque ? onWhite(pixels, channels) : pixels;
  const picture = sharp(data, {
    raw: { width: size, height: size, channels: opaque ? 3 : (channels as 1 | 2 | 3 | 4) },
  })
    .toColourspace(!opaque && channels < 3 ? "b-w" : "srgb")
    .withExif({ IFD0: { ...(text["Software"] ? { Software: text["Software"] } : {}), ImageDescription: ascii(text) } });
  if (format === "webp")
    return picture.webp(quality === 100 ? { lossless: true, exact: true } : { quality }).toBuffer();
  return picture.jpeg({ quality: Math.max(1, quality), chromaSubsampling: "4:4:4" }).toBuffer();
}

/** JSON in ASCII, because EXIF text cannot hold anything else. */
const ascii = (text: Record<string, string>): string =>
  JSON.stringify(text).replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
