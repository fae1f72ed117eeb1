/** The safetensors format: tensors by name in one file. Knows nothing of models.
 *  Format: https://huggingface.co/docs/safetensors (u64 header length, JSON header, little-endian values). */

import { type BigIntStats, closeSync, fstatSync, readSync, realpathSync, statSync } from "node:fs";
import { UserError } from "../core/errors.ts";
import { arrayOf, bytesPerElement, product } from "../core/arrays.ts";
import type { DType, HostTensor, TypedArray } from "../core/arrays.ts";
import { fromBfloat16, fromHalf } from "../core/half.ts";
import { listed, shown } from "../core/text.ts";
import type { HalfType } from "../graph/onnx.ts";
import { writeFileAtomic } from "./atomic.ts";
import { openRegularSync, pathText, refusal } from "./regular.ts";
import {
  again,
  nameOf,
  replaced,
  type SafetensorsFile,
  safetensorsHeader,
  type TensorEntry,
} from "./safetensors-header.ts";

export type { SafetensorsFile, TensorEntry } from "./safetensors-header.ts";

/** Reads and checks only the header. Throws a UserError for a file that is missing, truncated or inconsistent. */
export function readSafetensorsHeader(path: string): SafetensorsFile {
  return withFile(path, (descriptor, bytes) => {
    const read = (offset: number, length: number) => readRange(descriptor, offset, length);
    const version = versionOf(fstatSync(descriptor, { bigint: true }));
    return {
      ...safetensorsHeader(pathText(path), { bytes, read }),
      realPath: realpathSync(path),
      changed() {
        const now = statSync(path, { bigint: true, throwIfNoEntry: false });
        return now === undefined || versionOf(now) !== version;
      },
    };
  });
}

/** Reads one tensor, and only its range of the file. Throws a UserError for an unknown name. */
export function readTensor(file: SafetensorsFile, name: string): HostTensor {
  const { dtype, shape } = entryOf(file, name);
  return { dtype, shape, data: readTensorRange(file, name, { from: 0, count: product(shape) }) };
}

/** Reads `count` values of a tensor, starting at the row-major index `from`. */
export function readTensorRange(
  file: SafetensorsFile,
  name: string,
  range: { from: number; count: number },
): TypedArray {
  const entry = entryOf(file, name);
  return withFile(file.path, (descriptor) => {
    if (file.changed?.()) throw replaced(pathText(file.path));
    return readValues(file.path, descriptor, { name, entry, ...range });
  });
}

function entryOf({ path, tensors }: SafetensorsFile, name: string): TensorEntry {
  const entry = tensors.get(name);
  if (!entry)
    throw new UserError({
      subject: pathText(path),
      problem: `it has no tensor "${name}"`,
      hint: `it has ${listed([...tensors.keys()])}`,
    });
  return entry;
}

/** Reads every tensor of the file, in the order of its header. */
export function readSafetensors(path: string): { tensors: Map<string, HostTensor>; metadata: Record<string, string> } {
  const file = readSafetensorsHeader(path);
  const tensors = withFile(path, (descriptor) =>
    [...file.tensors].map(([name, entry]): [string, HostTensor] => {
      const { dtype, shape } = entry;
      const data = readValues(path, descriptor, { name, entry, from: 0, count: product(shape) });
      return [name, { dtype, shape, data }];
    }),
  );
  return { tensors: new Map(tensors), metadata: file.metadata };
}

/** A tensor whose bytes are produced while the file is written, for tensors too large for memory. */
export interface TensorPieces {
  dtype: DType;
  shape: readonly number[];
  /** The type in the file, if the pieces are sixteen-bit floats. */
  packed?: HalfType;
  pieces: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const elementBytes = (tensor: HostTensor | TensorPieces): number =>
  "packed" in tensor && tensor.packed ? 2 : bytesPerElement(tensor.dtype);

/**
 * Writes the file atomically (see `writeFileAtomic`), one tensor after another without a second copy in memory. The
 * values start at a multiple of 64 bytes and larger elements come first, so every tensor is aligned to its element
 * size.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<[string, HostTensor | TensorPieces]>,
  { metadata = {} }: { metadata?: Record<string, string> } = {},
): Promise<void> {
  const sorted = [...tensors].sort(([, a], [, b]) => elementBytes(b) - elementBytes(a));
  const header: [string, unknown][] = Object.keys(metadata).length ? [["__metadata__", metadata]] : [];
  const seen = new Set<string>(["__metadata__"]);
  let end = 0;
  for (const [name, tensor] of sorted) {
    const { dtype, shape } = tensor;
    const data = "data" in tensor ? tensor.data : undefined;
    if (seen.has(name)) throw new Error(`writeSafetensors: duplicate tensor name "${name}"`);
    if (data && (data.length !== product(shape) || data.BYTES_PER_ELEMENT !== bytesPerElement(dtype)))
      throw new Error(`writeSafetensors: "${name}": ${data.length} values do not fit ${dtype} [${shape.join(", ")}]`);
    seen.add(name);
    const start = end;
    end += product(shape) * elementBytes(tensor);
    const stored = "packed" in tensor && tensor.packed ? tensor.packed : nameOf[dtype];
    header.push([name, { dtype: stored, shape, data_offsets: [start, end] }]);
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const dataStart = Math.ceil((8 + json.length) / 64) * 64;
  const start = new Uint8Array(dataStart).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(dataStart - 8), true);
  start.set(json, 8);
  const write = async (piece: (bytes: Uint8Array) => Promise<void>) => {
    await piece(start);
    for (const [name, tensor] of sorted) {
      let left = product(tensor.shape) * elementBytes(tensor);
      for await (const bytes of "data" in tensor ? [bytesOf(tensor)] : tensor.pieces()) {
        await piece(bytes);
        left -= bytes.length;
      }
      if (left !== 0)
        throw new Error(`writeSafetensors: "${name}": its pieces have ${left} bytes fewer than its shape needs`);
    }
  };
  await writeFileAtomic(path, write, { totalBytes: dataStart + end });
}

const bytesOf = ({ data }: HostTensor): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** Values are read in the machine's byte order; every supported platform is little-endian. */
function readValues(
  path: string,
  descriptor: number,
  { name, entry, from, count }: { name: string; entry: TensorEntry; from: number; count: number },
): TypedArray {
  const each = entry.packed ? 2 : bytesPerElement(entry.dtype);
  const bytes = readRange(descriptor, entry.offset + from * each, count * each);
  if (bytes.length < count * each)
    throw new UserError({
      subject: pathText(path),
      problem: `tensor "${shown(name)}" ends early`,
      hint: `the file changed while it was read, ${again}`,
    });
  if (entry.packed) return unpackHalves(new Uint16Array(bytes.buffer), entry.packed);
  return new (arrayOf(entry.dtype))(bytes.buffer);
}

/** Differs between a file and any that replaces it at its path. */
const versionOf = ({ dev, ino, size, mtimeNs }: BigIntStats): string => [dev, ino, size, mtimeNs].join();

const unpackHalves = (halves: Uint16Array, packed: "F16" | "BF16"): Float32Array =>
  packed === "F16" ? fromHalf(halves) : fromBfloat16(halves);

/** Reads the bytes at `offset` into a new array, which is shorter if the file ends early. */
function readRange(descriptor: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const count = readSync(descriptor, bytes, filled, Math.min(length - filled, 1 << 28), offset + filled);
    if (count === 0) return bytes.slice(0, filled);
    filled += count;
  }
  return bytes;
}

function withFile<T>(path: string, use: (descriptor: number, bytes: number) => T): T {
  const descriptor = openRegularSync(path);
  try {
    return use(descriptor, fstatSync(descriptor).size);
  } catch (error) {
    throw refusal(path, error);
  } finally {
    closeSync(descriptor);
  }
}
