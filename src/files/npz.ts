/** Writes NumPy archives: an uncompressed zip of arrays, like `numpy.savez`. Knows nothing of what the arrays mean. */

import { zipSync, type Zippable } from "fflate";
import type { DType, HostTensor } from "../core/arrays.ts";
import { writeFileAtomic } from "./atomic.ts";

/** NumPy's names for the types. */
const descriptions: Record<DType, string> = {
  float16: "<f2",
  float32: "<f4",
  float64: "<f8",
  int8: "|i1",
  int32: "<i4",
  int64: "<i8",
  uint8: "|u1",
  uint32: "<u4",
  bool: "|b1",
};

/** All entries carry the earliest zip date, so that equal arrays produce equal bytes. */
const begin = new Date(1980, 0, 1);

/** Writes up to 4 GB in total. Throws a UserError if the file cannot be written. */
export async function writeNpz(path: string, arrays: Record<string, HostTensor>): Promise<void> {
  const entries: Zippable = {};
  for (const [name, array] of Object.entries(arrays)) entries[`${name}.npy`] = npyBytes(array);
  await writeFileAtomic(path, zipSync(entries, { level: 0, mtime: begin }));
}

/**
 * Encodes one array like `numpy.save`. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
function npyBytes({ dtype, shape, data }: HostTensor): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${descriptions[dtype]}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const start = 10; // magic, version and the header's length
  const header = `${text.padEnd(Math.ceil((start + text.length + 1) / 64) * 64 - start - 1)}\n`; // values start at a multiple of 64
  const bytes = new Uint8Array(start + header.length + data.byteLength);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), start);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start + header.length);
  return bytes;
}
