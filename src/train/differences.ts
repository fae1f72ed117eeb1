/**
 * Differences of weights as bytes: exactly, as float16, or as int8 with a scale for every 256 values. What rounding
 * loses is returned, so that the next difference can make up for it (error feedback).
 */

import { filledBy } from "../core/arrays.ts";
import { fromHalf, toHalf } from "../core/half.ts";

/** How differences are sent. */
export const differenceTypes = ["float32", "float16", "int8"] as const;
export type DifferenceType = (typeof differenceTypes)[number];

const blockSize = 256;

/** Encodes values [N]; the array is changed to what was lost, so that exact types leave zeros. */
export function encodeDifference(values: Float32Array, type: DifferenceType): Uint8Array<ArrayBuffer> {
  const bytes = encoded(values, type);
  const sent = decodeDifference(bytes, values.length, type);
  for (let i = 0; i < values.length; i++) values[i] -= sent[i];
  return bytes;
}

function encoded(values: Float32Array, type: DifferenceType): Uint8Array<ArrayBuffer> {
  if (type === "float32") return new Uint8Array(values.slice().buffer);
  if (type === "float16") return new Uint8Array(toHalf(values).slice().buffer);
  const blocks = Math.ceil(values.length / blockSize);
  const scales = new Float32Array(blocks);
  const rounded = new Int8Array(values.length);
  for (let block = 0; block < blocks; block++) {
    const part = values.subarray(block * blockSize, (block + 1) * blockSize);
    const scale = Math.fround(part.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127);
    scales[block] = scale;
    if (scale > 0)
      part.forEach((value, i) => {
        rounded[block * blockSize + i] = Math.max(-127, Math.min(127, Math.round(value / scale)));
      });
  }
  const bytes = new Uint8Array(scales.byteLength + rounded.byteLength);
  bytes.set(new Uint8Array(scales.buffer));
  bytes.set(new Uint8Array(rounded.buffer), scales.byteLength);
  return bytes;
}

/** Decodes `count` values. Throws if there are not as many bytes as they take. */
export function decodeDifference(bytes: Uint8Array<ArrayBuffer>, count: number, type: DifferenceType): Float32Array {
  const own = bytes.byteOffset === 0 ? bytes.buffer : bytes.slice().buffer; // aligned
  const scaleBytes = 4 * Math.ceil(count / blockSize);
  const expected = { float32: 4 * count, float16: 2 * count, int8: scaleBytes + count }[type];
  if (own.byteLength !== expected)
    throw new Error(`a difference of ${count} values as ${type} takes ${expected} bytes, got ${own.byteLength}`);
  if (type === "float32") return new Float32Array(own);
  if (type === "float16") return fromHalf(new Uint16Array(own));
  const scales = new Float32Array(own, 0, scaleBytes / 4);
  const rounded = new Int8Array(own, scaleBytes);
  return filledBy(new Float32Array(count), rounded, (value, i) => value * scales[Math.floor(i / blockSize)]);
}
