/** Makes image files, IDX files and NumPy archives like other programs do, for tests. */

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import sharp, { type Sharp } from "sharp";
import { type Deflated, zip } from "../files/test-torch.ts";

/** A single-colour picture with 1 to 4 channels. */
export function plain(
  colour: readonly number[],
  { width = 8, height = width }: { width?: number; height?: number } = {},
): Sharp {
  const channels = colour.length as 1 | 2 | 3 | 4;
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => colour[i % channels]);
  return sharp(data, { raw: { width, height, channels } }).toColourspace(channels < 3 ? "b-w" : "srgb");
}

/** Writes a file and the folders it needs. */
export function put(path: string, content: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** An IDX file. `values` must fit a byte; `type` is the IDX type code to declare. */
export function idx(shape: readonly number[], values: ArrayLike<number>, { type = 8 } = {}): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  shape.forEach((size, i) => header.writeUInt32BE(size, 4 + 4 * i));
  return Buffer.concat([header, Uint8Array.from(values)]);
}

/** An array in the format of `numpy.save`; `descr` is NumPy's type name, such as `<i8`. */
export function npy(
  descr: string,
  shape: readonly number[],
  { values, fortran = false }: { values: Uint8Array; fortran?: boolean },
): Buffer {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (${sizes}), }`;
  const header = Buffer.from(`${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`);
  const start = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  return Buffer.concat([start, header, values]);
}

/** A zip of arrays, like `numpy.savez` or `numpy.savez_compressed` writes. */
export const npz = (arrays: Record<string, Buffer | Deflated>, options?: { deflate?: boolean }): Buffer =>
  zip(Object.fromEntries(Object.entries(arrays).map(([key, array]) => [`${key}.npy`, array])), options);
