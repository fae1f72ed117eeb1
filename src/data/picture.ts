/** Decodes one picture: its size, its pixels, its channels. Knows nothing of data sets. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import sharp, { type Metadata, type Sharp } from "sharp";
import { filledBy } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { type FilePath, openRegular, readRegular } from "../files/regular.ts";
import { scaleOf } from "./array-images.ts";
import { type Pixels, timesByte } from "./crop.ts";
import { bytesPerPixel, mostPixels } from "./picture-memory.ts";
import { sharedRoom } from "./room.ts";

/** A picture as a file, as the bytes of a file, or as pixels that need no decoding. */
export type Picture = { file: FilePath } | { bytes: Uint8Array } | { pixels: Pixels };

export type PictureShape = Omit<Pixels, "data">;

type Encoded = Exclude<Picture, { pixels: Pixels }>;

/** Pixels, and a description of how floats were converted to bytes, if there were any. */
export type Decoded = Pixels & { floats?: string };

/** Why a picture cannot be used, phrased to follow its name. */
export class PictureError extends Error {
  override name = "PictureError";
}

/**
 * The accepted formats by their first bytes. The loaders of others can read files, run scripts or draw without bounds.
 */
const formats: Record<string, RegExp> = {
  PNG: /^\x89PNG\r\n\x1a\n/,
  JPEG: /^\xff\xd8\xff/,
  WebP: /^RIFF....WEBP/s,
  GIF: /^GIF8[79]a/,
  AVIF: /^....ftyp(avi[fs]|mif1|msf1)/s,
  TIFF: /^(II[*+]\0|MM\0[*+])/,
};
const startBytes = 12;

/** The format of a picture; undefined for any other file. */
export function pictureFormat(start: Uint8Array): string | undefined {
  const text = Buffer.from(start.subarray(0, startBytes)).toString("latin1");
  return Object.keys(formats).find((name) => formats[name].test(text));
}

// Warnings (odd metadata, say) leave an image whole; errors and early ends do not. Colour profiles are left aside, as
// in the published preparation, and animations give their first frame.
const options = { failOn: "error", ignoreIcc: true, limitInputPixels: limits.pixels } as const;

/** Concurrent decodings share the memory budget of the largest picture, in bytes. */
const room = sharedRoom(limits.decodingBytes);

/**
 * Runs a decoder; if it fails, runs it again while no other is active. libvips keeps error messages in one shared
 * place, so those of concurrent decoders can get mixed up.
 */
async function decoding<T>(bytes: number, run: () => Promise<T>): Promise<T> {
  try {
    return await inRoom(bytes, run);
  } catch (error) {
    if (error instanceof PictureError || error instanceof UserError) throw error;
    return await inRoom(limits.decodingBytes, run);
  }
}

/** Runs `run` with its share of the memory, and frees the memory of large pictures before others use it. */
const inRoom = <T>(bytes: number, run: () => Promise<T>): Promise<T> =>
  room.with(bytes, async () => {
    try {
      return await run();
    } finally {
      if (bytes > limits.decodingBytes / 8) await freeMemory();
    }
  });

/** Left alone, the garbage collector lets several hundred megabytes of pixels pile up. */
async function freeMemory(): Promise<void> {
  setFlagsFromString("-expose_gc");
  collect ??= runInNewContext("gc") as () => void;
  collect();
  await new Promise(setImmediate); // sharp's buffers are freed then
}
let collect: (() => void) | undefined;

/** Checks the first bytes and the size; returns the input for sharp. */
async function checked(picture: Encoded): Promise<Uint8Array | string> {
  const start = "bytes" in picture ? picture.bytes.subarray(0, startBytes) : await startOf(picture.file);
  if (start.length === 0) throw new PictureError("is empty");
  if (pictureFormat(start) === undefined)
    throw new PictureError(`does not decode (expected ${Object.keys(formats).join(", ")})`);
  if ("bytes" in picture) return picture.bytes;
  if (typeof picture.file === "string") return picture.file;
  return readRegular(picture.file, { most: limits.pictureBytes, what: "a picture" });
}

async function startOf(file: FilePath): Promise<Uint8Array> {
  const handle = await openRegular(file);
  try {
    const { size } = await handle.stat();
    if (size > limits.pictureBytes)
      throw new PictureError(`has ${byteCount(size)}, expected at most ${byteCount(limits.pictureBytes)}`);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(startBytes), 0, startBytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function headerOf(picture: Encoded): Promise<{ input: Uint8Array | string; header: Metadata }> {
  const input = await checked(picture);
  const header = await decoding(0, () => sharp(input, { ...options, limitInputPixels: false }).metadata());
  checkPixels(header, mostPixels(header));
  return { input, header };
}

function checkPixels({ width, height }: { width: number; height: number }, most: number): void {
  if (width * height > most)
    throw new PictureError(`has ${width}x${height} pixels, expected at most ${most}; scale it down`);
}

/** Width and height as shown (EXIF orientation applied), and 1 to 4 channels: grey, grey and alpha, RGB, RGBA. */
export async function measurePicture(picture: Picture): Promise<PictureShape> {
  if ("pixels" in picture) return picture.pixels;
  const { autoOrient, space, hasAlpha } = (await headerOf(picture)).header;
  return { ...autoOrient, channels: (isGrey(space) ? 1 : 3) + (hasAlpha ? 1 : 0) };
}

/**
 * Decodes to 8 bits per channel: 16 bits are reduced, floats scaled, CMYK becomes RGB like in Pillow, palettes are
 * resolved. Throws the decoder's error, or a PictureError for more than `most` pixels.
 */
export const decode = (picture: Picture, { most }: { most?: number } = {}): Promise<Decoded> =>
  decodeInto(picture, (pixels) => pixels, { most });

/**
 * Decodes and passes the pixels to `use` while their share of the memory budget is still held. If `use` throws, it may
 * be called again.
 */
export async function decodeInto<T>(
  picture: Picture,
  use: (pixels: Decoded) => T,
  { most = limits.pixels }: { most?: number } = {},
): Promise<T> {
  if ("pixels" in picture) return use(picture.pixels);
  const { input, header } = await headerOf(picture);
  const { width, height, space, hasAlpha, depth } = header;
  checkPixels(header, most);
  const image = sharp(input, options).timeout({ seconds: limits.pictureSeconds }).autoOrient();
  // Converting to grey would drop the alpha channel.
  const to = isGrey(space) && !hasAlpha ? "b-w" : "srgb";
  const pixels = async (): Promise<Decoded> => {
    if (space === "cmyk") return cmykToRgb(await raw(image.clone().pipelineColourspace("cmyk").toColourspace("cmyk")));
    if (depth === "uchar" || depth === "ushort") return raw(image.clone().toColourspace(to));
    return fromNumbers(await raw(image.clone().toColourspace(to), "float"));
  };
  return decoding(bytesPerPixel(header) * width * height, async () => use(await pixels()));
}

async function raw(image: Sharp, depth: "uchar" | "float" = "uchar"): Promise<Pixels> {
  const { data, info } = await image.raw({ depth }).toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

/** Converts floats, or integers wider than 16 bits, to bytes according to their range. */
function fromNumbers({ data, ...shape }: Pixels): Decoded {
  const aligned = data.byteOffset % 4 === 0 ? data : Uint8Array.from(data);
  const values = new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
  let [least, largest] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) throw new PictureError(`contains ${value} as a pixel value`);
    if (value < least) least = value;
    if (value > largest) largest = value;
  }
  const { note, toByte } = inPicture(() => scaleOf({ least, most: largest, floats: true }, "picture"));
  return { ...shape, data: filledBy(new Uint8Array(values.length), values, toByte), floats: note };
}

function inPicture<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof UserError
      ? new PictureError(error.message.replace(/^picture: its/, "cannot be read: its"))
      : error;
  }
}

/** Like Pillow's convert("RGB"): each ink absorbs from the light that black leaves. */
function cmykToRgb({ data, width, height, channels }: Pixels): Pixels {
  const out = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < out.length; from += channels, to += 3) {
    const light = 255 - data[from + 3];
    for (let c = 0; c < 3; c++) out[to + c] = light - timesByte(data[from + c], light);
  }
  return { data: out, width, height, channels: 3 };
}

const isGrey = (space: string) => space === "b-w" || space === "grey16";

/**
 * Converts to 1 to 4 channels. If alpha is dropped, the picture is composited onto white; grey is ITU-R 601 luma in
 * Pillow's fixed-point arithmetic.
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

/**
 * Why a picture could not be decoded, phrased to follow its name. Throws faults of the program and of the machine, such
 * as a lack of memory: they are no picture's.
 */
export function reasonOf(error: unknown): string {
  if (error instanceof PictureError) return shown(error.message, 200);
  // The decoder and the system throw plain errors.
  if (!(error instanceof UserError) && (error as Error | null)?.constructor !== Error) throw error;
  const [said] = (error instanceof Error ? error.message : String(error)).split("\n");
  const found = said.replace(/^(Input file is missing|.*?(?=: \/)).*$/, "$1");
  return `does not decode (${shown(error instanceof UserError ? said.replace(/^.*?: /, "") : found, 200)})`;
}
