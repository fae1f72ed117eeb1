/** Parses and checks the header of a safetensors file, wherever its bytes are. Knows nothing of files or models. */

import { bytesPerElement, type DType, product } from "../core/arrays.ts";
import { type Mistake, UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import type { HalfType } from "../graph/onnx.ts";

/** Where one tensor's values are; `offset` counts from the start of the file. */
export interface TensorEntry {
  /** The type after reading: half and bfloat16 become float32. */
  dtype: DType;
  shape: number[];
  offset: number;
  /** Size in the file. */
  bytes: number;
  /** How the file stores values that become float32. */
  packed?: HalfType;
}

/** The parsed header of a safetensors file. */
export interface SafetensorsFile {
  path: string;
  /** The path with symbolic links resolved: onnxruntime reads no weights through links that leave their folder. */
  realPath: string;
  tensors: Map<string, TensorEntry>;
  metadata: Record<string, string>;
  /** Tensors of types that cannot be read, with their types. */
  unreadable: Map<string, string>;
  /** Whether the path leads to another file now, or the file was written to. Absent if the file is not on a disk. */
  changed?: () => boolean;
}

/** What to tell about a file that `changed` since its header was read: old and new weights must not be mixed. */
export const replaced = (path: string): UserError =>
  new UserError({
    subject: path,
    problem: "it was replaced while it was in use",
    hint: "run the command again to use the new weights",
  });

const dtypes = {
  F64: "float64",
  I64: "int64",
  F32: "float32",
  I32: "int32",
  U32: "uint32",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool",
} as const satisfies Record<string, DType>;

/** The format's names for element types. */
export const nameOf = Object.fromEntries(Object.entries(dtypes).map(([name, dtype]) => [dtype, name])) as Record<
  DType,
  string
>;

const packedTypes = ["F16", "BF16"] as const satisfies readonly HalfType[];
/** Types that the format has, but that no model of ours uses. */
const otherTypes = /^(I16|U16|U64|F4|F6_\w+|F8_\w+|C64)$/;
const readable = [...Object.keys(dtypes), ...packedTypes];

/** Whether the bytes begin with a plausible header length and JSON. */
export function isSafetensorsStart(start: Uint8Array): boolean {
  if (start.length < 9 || start[8] !== 0x7b) return false;
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  return length <= limits.safetensorsHeaderBytes;
}

export const again = "download or write the file again";

/** Bytes that can be read by range. */
export interface ReadableBytes {
  bytes: number;
  read(offset: number, length: number): Uint8Array<ArrayBuffer>;
}

/** Finds where each tensor is. Throws a UserError that begins with `path` if the file is truncated or inconsistent. */
export function safetensorsHeader(path: string, { bytes: fileBytes, read }: ReadableBytes): SafetensorsFile {
  if (fileBytes < 8)
    throw new UserError({
      subject: path,
      problem: `a safetensors file has at least 8 bytes, this one has ${fileBytes}`,
      hint: again,
    });
  const headerBytes = new DataView(read(0, 8).buffer).getBigUint64(0, true);
  if (headerBytes > limits.safetensorsHeaderBytes || Number(headerBytes) > fileBytes - 8)
    throw new UserError({
      subject: path,
      problem: `its header claims ${headerBytes} bytes but only ${fileBytes - 8} follow`,
      hint: `the file is truncated or not a safetensors file, ${again}`,
    });
  const dataStart = 8 + Number(headerBytes);
  const { __metadata__: metadata, ...entries } = parseHeader(path, read(8, Number(headerBytes)));
  const tensors = new Map<string, TensorEntry>();
  const unreadable = new Map<string, string>();
  for (const [name, entry] of Object.entries(entries))
    if (isRecord(entry) && typeof entry["dtype"] === "string" && otherTypes.test(entry["dtype"]))
      unreadable.set(name, entry["dtype"]);
    else tensors.set(name, checkedEntry(entry, { path, name, dataStart, fileBytes }));
  checkOverlap(path, tensors);
  return { path, realPath: path, tensors, unreadable, metadata: checkedMetadata(path, metadata) };
}

function parseHeader(path: string, bytes: Uint8Array): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (isRecord(header)) return header;
  } catch {
    // The error below covers both invalid JSON and JSON that is not an object.
  }
  throw new UserError({
    subject: path,
    problem: "its header is not a JSON object",
    hint: `the file is damaged or not a safetensors file, ${again}`,
  });
}

function checkedEntry(
  entry: unknown,
  { path, name, dataStart, fileBytes }: { path: string; name: string; dataStart: number; fileBytes: number },
): TensorEntry {
  const wrong = (mistake: Mistake & { problem: string }) =>
    new UserError({
      hint: `the file is damaged, ${again}`,
      ...mistake,
      subject: path,
      problem: `tensor "${shown(name)}" ${mistake.problem}`,
    });
  const { dtype: dtypeName, shape, data_offsets: range } = isRecord(entry) ? entry : {};
  const packed = packedTypes.find((name) => name === dtypeName);
  if (typeof dtypeName !== "string" || !(packed || Object.hasOwn(dtypes, dtypeName)))
    throw wrong({
      problem: `has the dtype "${shown(dtypeName)}"`,
      expected: `one of ${readable.join(", ")}`,
      hint: "convert the file to one of these",
    });
  const dtype = packed ? "float32" : dtypes[dtypeName as keyof typeof dtypes];
  if (!isSizes(shape)) throw wrong({ problem: `has the shape ${shown(shape)}, not a list of sizes` });
  if (!isSizes(range) || range.length !== 2 || range[0] > range[1])
    throw wrong({ problem: `has the range ${shown(range)}, not [start, end]` });
  const [start, end] = range;
  const needed = product(shape) * (packed ? 2 : bytesPerElement(dtype));
  if (end - start !== needed)
    throw wrong({ problem: `needs ${needed} bytes as ${dtypeName} ${shown(shape)}, its range has ${end - start}` });
  if (dataStart + end > fileBytes)
    throw wrong({
      problem: `ends at byte ${dataStart + end}, but the file ends at byte ${fileBytes}`,
      hint: `it is truncated, ${again}`,
    });
  return { dtype, shape, offset: dataStart + start, bytes: needed, ...(packed && { packed }) };
}

function checkOverlap(path: string, tensors: Map<string, TensorEntry>): void {
  const placed = [...tensors].filter(([, entry]) => entry.bytes > 0).sort(([, a], [, b]) => a.offset - b.offset);
  for (let i = 1; i < placed.length; i++) {
    const [before, after] = [placed[i - 1], placed[i]];
    if (before[1].offset + before[1].bytes > after[1].offset)
      throw new UserError({
        subject: path,
        problem: `tensors "${shown(before[0])}" and "${shown(after[0])}" share bytes`,
        hint: `the file is damaged, ${again}`,
      });
  }
}

function checkedMetadata(path: string, metadata: unknown): Record<string, string> {
  if (metadata === undefined) return {};
  if (isRecord(metadata) && Object.values(metadata).every((value) => typeof value === "string"))
    return metadata as Record<string, string>;
  throw new UserError({
    subject: path,
    problem: "its __metadata__ must map names to strings",
    hint: `the file is damaged, ${again}`,
  });
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) &&
  value.length <= limits.dimensions &&
  value.every((size) => Number.isSafeInteger(size) && size >= 0);
