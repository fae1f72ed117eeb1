/** Encodes PNG and animated PNG, because browsers have no encoder for animations.
 *  Format: https://www.w3.org/TR/png-3/ (APNG is part of it). */

import { zlibSync } from "fflate";
import { joined } from "../core/arrays.ts";
import type { Bitmap } from "../pictures/bitmap.ts";
import { pngChunk, pngSignature } from "../pictures/pngtext.ts";

export interface AnimationFrame extends Bitmap {
  /** Display time in milliseconds. */
  delay: number;
}

const colourRgb = 2;
const colourRgba = 6;

/** Encodes RGB, or RGBA if there are four bytes per pixel. */
export const encodePng = (
  picture: Omit<Bitmap, "data"> & { data: Uint8Array | Uint8ClampedArray },
): Uint8Array<ArrayBuffer> =>
  joined([pngSignature, header(picture), pngChunk("IDAT", compressed(picture)), pngChunk("IEND", new Uint8Array(0))]);

/**
 * Encodes an endless animation of pictures of equal size. Of each picture, only the rectangle that differs from the
 * previous one is stored. A picture that does not differ extends the previous one.
 */
export function encodeAnimation(frames: readonly AnimationFrame[]): Uint8Array<ArrayBuffer> {
  const [first] = frames;
  if (frames.some(({ width, height }) => width !== first.width || height !== first.height))
    throw new Error("animation: the frames differ in size");
  const kept: { delay: number; at: { x: number; y: number }; part: Bitmap }[] = [];
  frames.forEach((frame, i) => {
    const at = i === 0 ? { x: 0, y: 0, width: frame.width, height: frame.height } : difference(frames[i - 1], frame);
    if (at) kept.push({ delay: frame.delay, at, part: cut(frame, at) });
    else kept[kept.length - 1].delay += frame.delay;
  });
  let sequence = 0;
  const chunks = kept.flatMap(({ delay, at, part }, i) => {
    const control = new DataView(new ArrayBuffer(26));
    [sequence++, part.width, part.height, at.x, at.y].forEach((value, j) => control.setUint32(4 * j, value));
    control.setUint16(20, Math.min(65535, delay));
    control.setUint16(22, 1000);
    const data = compressed(part);
    if (i === 0) return [pngChunk("fcTL", bytesOf(control)), pngChunk("IDAT", data)];
    const numbered = new Uint8Array(data.length + 4);
    new DataView(numbered.buffer).setUint32(0, sequence++);
    numbered.set(data, 4);
    return [pngChunk("fcTL", bytesOf(control)), pngChunk("fdAT", numbered)];
  });
  const control = new DataView(new ArrayBuffer(8)); // number of frames, number of plays (0: endless)
  control.setUint32(0, kept.length);
  const end = pngChunk("IEND", new Uint8Array(0));
  return joined([pngSignature, header(first), pngChunk("acTL", bytesOf(control)), ...chunks, end]);
}

function difference(a: Bitmap, b: Bitmap): { x: number; y: number; width: number; height: number } | undefined {
  let [left, top, right, bottom] = [b.width, b.height, -1, -1];
  for (let i = 0; i < b.data.length; i++) {
    if (a.data[i] === b.data[i]) continue;
    const pixel = Math.floor(i / 3);
    const [x, y] = [pixel % b.width, Math.floor(pixel / b.width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  return right < 0 ? undefined : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

function cut(from: Bitmap, { x, y, width, height }: { x: number; y: number; width: number; height: number }): Bitmap {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const start = ((y + row) * from.width + x) * 3;
    data.set(from.data.subarray(start, start + width * 3), row * width * 3);
  }
  return { width, height, data };
}

type Encoded = Parameters<typeof encodePng>[0];
const channelsOf = ({ width, height, data }: Encoded): number => data.length / (width * height);

function header(picture: Encoded): Uint8Array {
  const { width, height } = picture;
  const view = new DataView(new ArrayBuffer(13));
  view.setUint32(0, width);
  view.setUint32(4, height);
  view.setUint8(8, 8);
  view.setUint8(9, channelsOf(picture) === 4 ? colourRgba : colourRgb);
  return pngChunk("IHDR", bytesOf(view));
}

/** Compresses rows without a filter, which works best for flat areas of large pixels. */
function compressed(picture: Encoded): Uint8Array {
  const { width, height, data } = picture;
  const row = width * channelsOf(picture);
  const rows = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  return zlibSync(rows, { level: 9 });
}

const bytesOf = ({ buffer }: DataView): Uint8Array => new Uint8Array(buffer as ArrayBuffer);
