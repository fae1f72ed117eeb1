/**
 * Decodes Parquet in a separate thread, which `parquet-thread.ts` starts and stops, because damaged bytes can make the
 * decoder loop forever. Knows nothing of images.
 */

import { fstatSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
} from "hyparquet";
import { compressors as all } from "hyparquet-compressors";
import { byteCount } from "../core/byte-count.ts";
import { limits } from "../core/limits.ts";
import type { ParquetAnswer, ParquetQuestion } from "./parquet-thread.ts";

/** An error of our own about the file, shown unchanged. */
const tooMuch = (what: string, bytes: number, most: number) =>
  new Error(`${what} claims ${byteCount(bytes)}, expected at most ${byteCount(most)}`);

/** Every codec, with a check of the size that a page claims to decompress to. */
const compressors: Compressors = Object.fromEntries(
  Object.entries(all).map(([codec, unpack]) => [
    codec,
    (input: Uint8Array, length: number) => {
      if (length > limits.parquetPageBytes) throw tooMuch("a page", length, limits.parquetPageBytes);
      // Arrow writes an empty page as the LZ4 block 00, which hyparquet-compressors 1.1.1 rejects as damaged.
      return length === 0 ? new Uint8Array(0) : unpack!(input, length);
    },
  ]),
);

function bufferOf(descriptor: number): AsyncBuffer {
  const byteLength = fstatSync(descriptor).size;
  return {
    byteLength,
    slice(start, end = byteLength) {
      if (!(start >= 0 && end <= byteLength && start <= end))
        throw new Error(`it refers to bytes ${start} to ${end}, but has ${byteLength}`);
      const bytes = new Uint8Array(end - start);
      for (let filled = 0; filled < bytes.length;) {
        const count = readSync(descriptor, bytes, filled, Math.min(bytes.length - filled, 1 << 28), start + filled);
        if (count === 0) throw new Error("it shrank while it was being read");
        filled += count;
      }
      return bytes.buffer;
    },
  };
}

const known = new Map<number, FileMetaData>();

async function metadataOf(descriptor: number): Promise<FileMetaData> {
  const file = bufferOf(descriptor);
  const metadata = known.get(descriptor) ?? (await parquetMetadataAsync(file, { geoparquet: false }));
  known.set(descriptor, metadata);
  const rows = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
  if (rows !== Number(metadata.num_rows))
    throw new Error(`it claims ${metadata.num_rows} rows, but its groups have ${rows}`);
  // An image takes more than a few bytes.
  if (rows > 1024 + file.byteLength / 8) throw new Error(`it claims ${rows} rows in ${byteCount(file.byteLength)}`);
  return metadata;
}

async function answer(question: ParquetQuestion): Promise<unknown> {
  const { descriptor } = question;
  if (question.kind === "close") return void known.delete(descriptor);
  const metadata = await metadataOf(descriptor);
  if (question.kind === "metadata") return metadata;
  const { kind: _, ...options } = question;
  return parquetReadObjects({ file: bufferOf(descriptor), metadata, ...options, compressors });
}

/** The buffers of all byte values in the rows, to be transferred instead of copied. */
function buffersIn(rows: unknown): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  const look = (value: unknown, depth: number): void => {
    if (value instanceof Uint8Array) found.add(value.buffer as ArrayBuffer);
    else if (depth > 0 && typeof value === "object" && value !== null)
      for (const one of Object.values(value)) look(one, depth - 1);
  };
  look(rows, 3);
  return [...found];
}

const port = parentPort!;
port.on("message", async ({ id, question }: { id: number; question: ParquetQuestion }) => {
  try {
    const value = await answer(question);
    port.postMessage({ id, value } satisfies ParquetAnswer, question.kind === "rows" ? buffersIn(value) : []);
  } catch (error) {
    port.postMessage({ id, error: error instanceof Error ? error.message : String(error) } satisfies ParquetAnswer);
  }
});
port.postMessage("ready");
