/**
 * Zip archives, read by range: PyTorch checkpoints and NumPy arrays. Every entry that is read is verified against its
 * checksum, which yauzl does not do. Knows nothing of the entries' contents.
 */

import { close, createReadStream, fstatSync, read, readSync } from "node:fs";
import zlib from "node:zlib";
import crc from "crc-32";
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from "yauzl";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { openRegularSync, pathText, refusal } from "./regular.ts";

export type ZipEntry = Pick<Entry, "fileName" | "uncompressedSize" | "compressedSize" | "compressionMethod">;

export interface ZipArchive {
  path: string;
  entries: ReadonlyMap<string, Entry>;
  /** Reads `length` bytes from `start`. A stored entry is read by range, a compressed one from its beginning. */
  read(entry: Entry, range: { start: number; length: number }): Promise<Uint8Array<ArrayBuffer>>;
  /** Streams all bytes; a wrong checksum is detected at the end. */
  stream(entry: Entry): AsyncGenerator<Uint8Array>;
  close(): void;
}

/** Node's own implementation is faster, but not every Node 20 has it. */
const crc32: (bytes: Uint8Array, before: number) => number =
  zlib.crc32 ?? ((bytes, before) => crc.buf(bytes, before | 0) >>> 0);

/**
 * Opens an archive and lists its entries. Throws a UserError for any fault of the file. Close the archive after use.
 */
export async function openZip(path: string): Promise<ZipArchive> {
  const zip = await opened(path);
  try {
    if (zip.entryCount > limits.archiveEntries)
      throw new UserError({
        subject: pathText(path),
        problem: `the archive holds ${zip.entryCount} files`,
        expected: `at most ${limits.archiveEntries}`,
        hint: "unpack it yourself if you trust it",
      });
    const entries = new Map<string, Entry>();
    await explained(path, async () => {
      for await (const entry of zip.eachEntry()) entries.set(entry.fileName, entry);
    });
    return archive(path, zip, entries);
  } catch (error) {
    zip.close();
    throw error;
  }
}

async function opened(path: string): Promise<ZipFile> {
  const descriptor = openRegularSync(path);
  const reader = new WindowReader(descriptor);
  try {
    const { size } = fstatSync(descriptor);
    return await explained(path, () => fromRandomAccessReaderPromise(reader, size, { autoClose: false }));
  } catch (error) {
    reader.close();
    throw error;
  }
}

const windowBytes = 65_536;

/**
 * Reads many entries of the central directory at once. yauzl's own reader makes two asynchronous reads for each entry:
 * seconds for an archive of 60,000 files.
 */
class WindowReader extends RandomAccessReader {
  readonly #descriptor: number;
  readonly #window = Buffer.alloc(windowBytes);
  #start = 0;
  #end = 0;

  constructor(descriptor: number) {
    super();
    this.#descriptor = descriptor;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    try {
      const bytesRead = this.#copy(buffer.subarray(offset, offset + length), position);
      process.nextTick(callback, null, bytesRead);
    } catch (error) {
      process.nextTick(callback, error as Error);
    }
  }

  #copy(to: Buffer, position: number): number {
    if (to.length > windowBytes) return readSync(this.#descriptor, to, 0, to.length, position);
    if (position < this.#start || position + to.length > this.#end) {
      this.#start = position;
      this.#end = position + readSync(this.#descriptor, this.#window, 0, windowBytes, position);
    }
    return this.#window.copy(to, 0, position - this.#start, this.#end - this.#start);
  }

  override _readStreamForRange(start: number, end: number) {
    // A destroyed stream closes its file even without autoClose, but the archive still needs it.
    const fs = { read, close: (_: number, done: (error: null) => void) => done(null) };
    return createReadStream("", { fd: this.#descriptor, start, end: end - 1, fs });
  }

  override close(callback: (error: Error | null) => void = () => {}): void {
    close(this.#descriptor, callback);
  }
}

const isStored = ({ compressionMethod }: ZipEntry) => compressionMethod === 0;

function archive(path: string, zip: ZipFile, entries: ReadonlyMap<string, Entry>): ZipArchive {
  const verified = new Set<Entry>();

  async function* stream(entry: Entry): AsyncGenerator<Uint8Array> {
    checkSizes(path, entry);
    let sum = 0;
    const bytes = await explained(path, () => zip.openReadStreamPromise(entry));
    const chunks = bytes[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    try {
      for (;;) {
        const { done, value } = await explained(path, () => chunks.next());
        if (done) break;
        sum = crc32(value, sum);
        yield value;
      }
    } finally {
      await chunks.return?.();
    }
    // Some writers, including PyTorch with the right setting, omit the checksum and write 0.
    if (entry.crc32 !== 0 && sum !== entry.crc32)
      throw new UserError({
        subject: pathText(path),
        problem: `${shown(entry.fileName)} inside it is damaged: its checksum does not match`,
        hint: "download the file again",
      });
    verified.add(entry);
  }

  /** A range has no checksum of its own, so the first read of an entry verifies the whole entry. */
  async function verify(entry: Entry): Promise<void> {
    if (verified.has(entry)) return;
    for await (const _ of stream(entry));
  }

  return {
    path,
    entries,
    stream,
    async read(entry, { start, length }) {
      if (length === 0) return new Uint8Array(0);
      checkSizes(path, entry);
      if (isStored(entry)) await verify(entry);
      else if (entry.uncompressedSize > limits.unpackedBytes)
        throw new UserError({
          subject: pathText(path),
          problem: `${shown(entry.fileName)} inside it unpacks to ${byteCount(entry.uncompressedSize)}`,
          expected: `at most ${byteCount(limits.unpackedBytes)}`,
          hint: "store it without compression",
        });
      const end = start + length;
      if (end > entry.uncompressedSize) throw short(path, entry);
      const bytes = new Uint8Array(length);
      let position = isStored(entry) ? start : 0;
      const pieces = isStored(entry)
        ? ((await explained(path, () => zip.openReadStreamPromise(entry, { start, end }))) as AsyncIterable<Uint8Array>)
        : stream(entry);
      await explained(path, async () => {
        for await (const piece of pieces) {
          const from = Math.max(0, start - position);
          const to = Math.min(piece.length, end - position);
          if (from < to) bytes.set(piece.subarray(from, to), position + from - start);
          position += piece.length;
        }
      });
      if (position < end) throw short(path, entry);
      return bytes;
    },
    close: () => zip.close(),
  };
}

const short = (path: string, { fileName }: ZipEntry) =>
  new UserError({
    subject: pathText(path),
    problem: `${shown(fileName)} inside it ends early`,
    hint: "the file is damaged or incomplete, so download it again",
  });

/** Rejects sizes that cannot be true before memory is allocated for them. */
function checkSizes(path: string, entry: ZipEntry): void {
  const { compressedSize, uncompressedSize } = entry;
  const most = isStored(entry) ? compressedSize : limits.deflateRatio * compressedSize + 1024;
  if (uncompressedSize > most)
    throw new UserError({
      subject: pathText(path),
      problem: `${shown(entry.fileName)} inside it claims more bytes than it can hold`,
      hint: "the file is damaged or incomplete, so download it again",
    });
}

/** Turns errors of the zip reader or the system into a message about the file. */
async function explained<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const known = refusal(path, error);
    // yauzl throws plain Errors without a code. Bugs of our own (TypeError, RangeError) keep their stack.
    if (known !== error || !(error instanceof Error) || error.constructor !== Error || "code" in error) throw known;
    throw new UserError(
      {
        subject: pathText(path),
        problem: `the archive is truncated or damaged (${shown(error.message)})`,
        hint: "download it again",
      },
      { cause: error },
    );
  }
}
