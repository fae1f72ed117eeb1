/** One picture to raw bytes: its size, its pixels, its channels. Knows nothing of data sets. */

import sharp from "sharp";
import { type Pixels, timesByte } from "./crop.ts";

/** A picture where it lies: a file, the bytes of one, or pixels that need no decoding. */
export type Picture = { file: string } | { bytes: Uint8Array } | { pixels: Pixels };

export type Shape = Omit<Pixels, "data">;

// Warnings (odd metadata, say) leave an image whole; errors and early ends do not. Colour profiles are left aside, as in
// the published preparation, and animations give their first frame.
const reading = { failOn: "error", ignoreIcc: true } as const;

const open = (picture: Exclude<Picture, { pixels: Pixels }>, limits = {}) =>
  sharp("file" in picture ? picture.file : picture.bytes, { ...reading, ...limits });

/** Width and height as shown (EXIF orientation applied), and 1 to 4 channels: grey, grey and alpha, RGB, RGBA. */
export async function measure(picture: Picture): Promise<Shape> {
  if ("pixels" in picture) return picture.pixels;
  const { autoOrient, space, hasAlpha } = await open(picture).metadata();
  return { ...autoOrient, channels: (isGrey(space) ? 1 : 3) + (hasAlpha ? 1 : 0) };
}

/**
 * Decodes to 8 bits a channel: 16 bits are reduced, CMYK becomes RGB, palettes are resolved. Throws what the decoder says,
 * and where there are more than `most` pixels.
 */
export async function decode(picture: Picture, { most }: { most?: number } = {}): Promise<Pixels> {
  if ("pixels" in picture) return picture.pixels;
  const image = open(picture, most === undefined ? {} : { limitInputPixels: most });
  const { space, hasAlpha } = await image.metadata();
  const { data, info } = await image
    .autoOrient()
    // Written out as grey, an image would lose its alpha.
    .toColourspace(isGrey(space) && !hasAlpha ? "b-w" : "srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

const isGrey = (space: string) => space === "b-w" || space === "grey16";

/**
 * The same picture with 1 to 4 channels. Alpha that is not asked for is laid onto white; grey is ITU-R 601 luma in
 * Pillow's fixed point.
 */
export function toChannels(image: Pixels, channels: number): Pixels {
  const { data, channels: from } = image;
  if (from === channels) return image;
  const [grey, alpha] = [from < 3, from % 2 === 0];
  const [toGrey, toAlpha] = [channels < 3, channels % 2 === 0];
  const pixels = image.width * image.height;
  const out = new Uint8Array(pixels * channels);
  for (let i = 0, at = 0, to = 0; i < pixels; i++, at += from, to += channels) {
    const a = alpha ? data[at + from - 1] : 255;
    const colour = (c: number) => {
      const value = data[at + (grey ? 0 : c)];
      return toAlpha ? value : timesByte(value, a) + 255 - a;
    };
    if (toGrey) out[to] = (colour(0) * 19595 + colour(1) * 38470 + colour(2) * 7471 + 0x8000) >> 16;
    else for (let c = 0; c < 3; c++) out[to + c] = colour(c);
    if (toAlpha) out[to + channels - 1] = a;
  }
  return { ...image, data: out, channels };
}

/** Why a picture could not be decoded, to go after its name. */
export function reasonOf(error: unknown): string {
  const [said] = (error instanceof Error ? error.message : String(error)).split("\n");
  return `does not decode (${said.replace(/^(Input file is missing|.*?(?=: \/)).*$/, "$1")})`;
}
