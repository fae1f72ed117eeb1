/** Makes small checkpoints in the format of torch.save, byte by byte, for tests. */

import { constants, deflateRawSync } from "node:zlib";
import crc32 from "crc-32";

/** Deflated bytes, with their length and checksum before. */
export interface Deflated {
  data: Buffer;
  length: number;
  crc: number;
}

/** Some bytes and then zeros, many gigabytes if need be: deflated, each gigabyte takes a megabyte. */
export function withZeros(bytes: Uint8Array, count: number): Deflated {
  const flush = { finishFlush: constants.Z_FULL_FLUSH };
  const zeros = Buffer.alloc(1 << 20);
  const block = deflateRawSync(zeros, flush); // ends at a byte and refers to nothing before it
  const blocks = Math.ceil(count / zeros.length);
  let crc = crc32.buf(bytes);
  for (let i = 0; i < blocks; i++) crc = crc32.buf(zeros, crc);
  const data = [deflateRawSync(bytes, flush), ...Array<Buffer>(blocks).fill(block), deflateRawSync(Buffer.alloc(0))];
  return { data: Buffer.concat(data), length: bytes.length + blocks * zeros.length, crc };
}

/** A zip of the entries, stored or deflated. */
export function zip(entries: Record<string, Uint8Array | Deflated>, { deflate = false } = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(entries)) {
    const packed = "crc" in content;
    const data = packed ? content.data : deflate ? deflateRawSync(content) : Buffer.from(content);
    const common = Buffer.alloc(26); // from "version needed" to "extra length"
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(packed || deflate ? 8 : 0, 4);
    common.writeInt32LE(packed ? content.crc : crc32.buf(content), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(offset, 10);
    parts.push(Buffer.from("PK\x03\x04"), common, Buffer.from(name), data);
    directory.push(Buffer.from("PK\x01\x02\x14\0"), common, place, Buffer.from(name));
    offset += 30 + name.length + data.length;
  }
  const list = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(parts.length / 4, 4);
  end.writeUInt16LE(parts.length / 4, 6);
  end.writeUInt32LE(list.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...parts, list, Buffer.from("PK\x05\x06"), end]);
}

export const text = (value: string) =>
  Buffer.concat([Buffer.from("X"), Buffer.from(Uint32Array.of(value.length).buffer), Buffer.from(value)]);
export const int = (value: number) => Buffer.concat([Buffer.from("J"), Buffer.from(Int32Array.of(value).buffer)]);
export const tuple = (...items: Buffer[]) => Buffer.concat([Buffer.from("("), ...items, Buffer.from("t")]);
export const global = (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`);
export const reduce = (callee: Buffer, ...args: Buffer[]) => Buffer.concat([callee, tuple(...args), Buffer.from("R")]);
export const dict = (items: Record<string, Buffer>) =>
  Buffer.concat([
    Buffer.from("}("),
    ...Object.entries(items).flatMap(([key, value]) => [text(key), value]),
    Buffer.from("u"),
  ]);
export const pickle = (value: Buffer) => Buffer.concat([Buffer.from([0x80, 2]), value, Buffer.from(".")]);

export interface Layout {
  type?: string;
  key?: string;
  elements: number;
  offset?: number;
  shape: number[];
  stride: number[];
}
export const tensor = ({ type = "Float", key = "0", elements, offset = 0, shape, stride }: Layout) =>
  reduce(
    global("torch._utils", "_rebuild_tensor_v2"),
    Buffer.concat([
      tuple(text("storage"), global("torch", `${type}Storage`), text(key), text("cpu"), int(elements)),
      Buffer.from("Q"),
    ]),
    int(offset),
    tuple(...shape.map(int)),
    tuple(...stride.map(int)),
    Buffer.from([0x89]),
    reduce(global("collections", "OrderedDict")),
  );

/** One tensor of a checkpoint to write, with its values as stored in the file. */
export interface Stored {
  type?: string;
  shape: readonly number[];
  bytes: Uint8Array;
}

/** The pickle and storages of a tree of dicts, lists, numbers, strings and tensors. */
export function checkpointBytes(tree: unknown, { protocol = 2 } = {}): Buffer {
  const storages: Record<string, Uint8Array> = {};
  const written = (value: unknown): Buffer => {
    if (Buffer.isBuffer(value)) return value; // pickled already
    if (typeof value === "string") return text(value);
    if (typeof value === "number")
      return Number.isInteger(value) ? int(value) : Buffer.concat([Buffer.from("G"), bigEndian(value)]);
    if (Array.isArray(value)) return tuple(...value.map(written));
    if (value instanceof Map)
      return Buffer.concat([Buffer.from("}("), ...[...value].flatMap((item) => item.map(written)), Buffer.from("u")]);
    if (isStored(value)) return storedTensor(value);
    return written(new Map(Object.entries(value as object)));
  };
  const storedTensor = ({ type = "Float", shape, bytes }: Stored): Buffer => {
    const key = String(Object.keys(storages).length);
    storages[`x/data/${key}`] = bytes;
    const elements = shape.reduce((a, b) => a * b, 1);
    const stride = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    return tensor({ type, key, elements, shape: [...shape], stride });
  };
  const root = pickle(written(tree));
  root[1] = protocol;
  return zip({ "x/data.pkl": root, ...storages });
}

const isStored = (value: unknown): value is Stored => typeof value === "object" && value !== null && "bytes" in value;

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes;
}

/** Clears the checksums of a zip in place (0 means none), for files that a test changed on purpose. */
export function withoutChecksums(bytes: Uint8Array): Uint8Array {
  const zip = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const record = Buffer.from("PK\x01\x02", "latin1"); // of the central directory
  for (let at = zip.indexOf(record); at >= 0; at = zip.indexOf(record, at + 46)) zip.writeUInt32LE(0, at + 16);
  return bytes;
}
