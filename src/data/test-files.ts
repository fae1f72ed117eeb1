/** Makes image files, IDX files and NumPy archives like other programs do, for tests. */

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { deflateRawSync } from "node:zlib";
import crc32 from "crc-32";
import sharp, { type Sharp } from "sharp";

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
export function npz(arrays: Record<string, Buffer>, { deflate = false } = {}): Buffer {
  const pieces: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [key, content] of Object.entries(arrays)) {
    const name = Buffer.from(`${key}.npy`);
    const packed = deflate ? deflateRawSync(content) : content;
    const common = Buffer.alloc(26); // from the version needed to the length of the extra field
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(deflate ? 8 : 0, 4);
    common.writeInt32LE(crc32.buf(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00", "latin1"), common, rest, name);
    pieces.push(Buffer.from("PK\x03\x04"), common, name, packed);
    offset += 30 + name.length + packed.length;
  }
  const listing = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  const count = Object.keys(arrays).length;
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(listing.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...pieces, listing, end]);
}
