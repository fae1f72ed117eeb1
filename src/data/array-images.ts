/** Converts images in arrays of any layout and value type to pixels. Knows nothing of files. */

import { filledBy, product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Pixels } from "./crop.ts";
import { itemBytes, type NpyHeader, type NpyType, valuesFrom } from "./npy.ts";

/** The layout of an array of images. */
export interface ArrayLayout {
  count: number;
  width: number;
  height: number;
  channels: number;
  /** Channel after channel, instead of interleaved. */
  planar: boolean;
  /** The number of values per image. */
  values: number;
  /** Describes an unusual layout, for the user. */
  note?: string;
}

/**
 * Recognises [N, height, width], [N, height, width, C], [N, C, height, width], or flat rows as in CIFAR and ImageNet32:
 * [N, C * side * side], channel after channel. Throws a UserError that begins with `where` for any other shape.
 */
export function layoutOf({ shape, type }: Pick<NpyHeader, "shape" | "type">, where: string): ArrayLayout {
  const found = arranged(shape);
  const sizes = `[${shape.join(", ")}]`;
  if (!found)
    throw new UserError({
      subject: where,
      problem: `its shape is ${sizes}`,
      expected: "[N, height, width], [N, height, width, 1 to 4 channels], or [N, 3 * side * side]",
    });
  const values = product(shape.slice(1));
  if (found.width * found.height > limits.pixels)
    throw new UserError({
      subject: where,
      problem: `its shape is ${sizes}, images of ${found.width}x${found.height} pixels`,
      expected: `at most ${limits.pixels} pixels`,
    });
  if (values * itemBytes(type) > limits.arrayImageBytes)
    throw new UserError({
      subject: where,
      problem: `its shape is ${sizes}, images of ${byteCount(values * itemBytes(type))}`,
      expected: `at most ${byteCount(limits.arrayImageBytes)}`,
      hint: "scale them down",
    });
  return { count: shape[0], values, ...found };
}

type Arranged = Pick<ArrayLayout, "width" | "height" | "channels" | "planar" | "note">;

function arranged(shape: readonly number[]): Arranged | undefined {
  const [, a, b, c] = shape;
  const isChannels = (size: number) => size >= 1 && size <= 4;
  if (shape.length === 3) return { height: a, width: b, channels: 1, planar: false };
  if (shape.length === 4 && isChannels(c)) return { height: a, width: b, channels: c, planar: false };
  if (shape.length === 4 && isChannels(a))
    return { channels: a, height: b, width: c, planar: true, note: "channels first" };
  if (shape.length !== 2) return undefined;
  for (const channels of [3, 1]) {
    const side = Math.sqrt(a / channels);
    if (a > 0 && Number.isInteger(side))
      return {
        width: side,
        height: side,
        channels,
        planar: true,
        note: `flat rows of ${a}, read as ${side}x${side} ${channels === 3 ? "with separate red, green and blue planes, as in CIFAR" : "in grey"}`,
      };
  }
  return undefined;
}

/** How numbers are converted to bytes. */
export interface Scale {
  /** A description for the user; undefined if the values are already bytes. */
  note?: string;
  toByte: (value: number) => number;
}

const clamped = (value: number) => Math.min(255, Math.max(0, Math.round(value)));
/** Tolerance for rounding errors at the bounds. */
const slack = 1e-3;

/** Chooses the scale for values from `least` to `most`. Throws a UserError if they cannot be brightness values. */
export function scaleOf(
  { least, most, floats }: { least: number; most: number; floats: boolean },
  where: string,
): Scale {
  const range = `${figure(least)} to ${figure(most)}`;
  if (floats && least >= -slack && most <= 1 + slack)
    return { note: "values from 0 to 1 are scaled from black to white", toByte: (value) => clamped(255 * value) };
  if (floats && least >= -1 - slack && most <= 1 + slack)
    return {
      note: "values from -1 to 1 are scaled from black to white",
      toByte: (value) => clamped(127.5 * (value + 1)),
    };
  if (least >= -slack && most <= 255 + slack)
    return { note: `values from ${range} are used unchanged, on a scale of 0 to 255`, toByte: clamped };
  throw new UserError({
    subject: where,
    problem: `its values range from ${range}`,
    expected: "bytes (0 to 255), or floats from 0 to 1 or from -1 to 1",
    hint: "rescale them",
  });
}

const figure = (value: number): string => (Number.isInteger(value) ? String(value) : value.toPrecision(4));

export const isFloat = (type: NpyType): boolean => type.startsWith("f");

/** Finds the smallest and largest of all values, read piece by piece. Throws a UserError if one is not finite. */
export async function rangeOf(
  pieces: AsyncIterable<Uint8Array>,
  header: NpyHeader,
  where: string,
): Promise<{ least: number; most: number; floats: boolean }> {
  let least = Infinity;
  let most = -Infinity;
  for await (const piece of pieces)
    for (const value of valuesFrom(piece, header)) {
      if (!Number.isFinite(value))
        throw new UserError({
          subject: where,
          problem: `it contains ${value}`,
          expected: "finite numbers",
          hint: "remove such images",
        });
      if (value < least) least = value;
      if (value > most) most = value;
    }
  return { least, most, floats: isFloat(header.type) };
}

/** Converts one image's stored bytes to pixels. */
export function pixelsOf(
  bytes: Uint8Array,
  { width, height, channels, planar }: ArrayLayout,
  { header, scale }: { header: Pick<NpyHeader, "type" | "bigEndian">; scale?: Scale },
): Pixels {
  const values = valuesFrom(bytes, header);
  const data = scale ? filledBy(new Uint8Array(values.length), values, scale.toByte) : bytes;
  return { data: planar ? interleaved(data, channels) : data, width, height, channels };
}

function interleaved(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 1) return data;
  const out = new Uint8Array(data.length);
  const pixels = data.length / channels;
  for (let channel = 0, from = 0; channel < channels; channel++)
    for (let i = 0; i < pixels; i++) out[i * channels + channel] = data[from++];
  return out;
}
