/** Listing the files of a folder in a fixed order, and reading their bytes in pieces. Knows nothing of formats. */

import { createReadStream } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { UserError } from "../core/errors.ts";
import { byName, type SourceFile } from "./source.ts";

export interface Listing {
  /** A link to nowhere is listed too, with no bytes: whoever reads it will say that it is missing. */
  files: SourceFile[];
  folders: { name: string; path: string }[];
}

/** What a system puts into folders by itself. */
const ignored = /^\.|^__MACOSX$|^@eaDir$/;

/** The files directly in a folder; links are followed, hidden files left out, names in a fixed order. */
export async function listFolder(folder: string, { prefix = "" } = {}): Promise<Listing> {
  const listing: Listing = { files: [], folders: [] };
  for (const entry of (await reading(folder, () => readdir(folder))).sort(byName)) {
    if (ignored.test(entry)) continue;
    const path = join(folder, entry);
    // The same name can be stored composed or decomposed; it should not depend on the disk.
    const name = prefix + entry.normalize("NFC");
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) listing.folders.push({ name, path });
    else listing.files.push({ name, path, bytes: found?.size ?? 0, modified: found?.mtimeMs ?? 0 });
  }
  return listing;
}

/** A folder and all folders below it, sorted by name; a link back to a folder above is not followed. */
export async function listTree(
  folder: string,
  { prefix = "", above = [], signal }: { prefix?: string; above?: readonly string[]; signal?: AbortSignal } = {},
): Promise<Listing> {
  signal?.throwIfAborted();
  const real = await reading(folder, () => realpath(folder));
  if (above.includes(real)) return { files: [], folders: [] };
  const { files, folders } = await listFolder(folder, { prefix });
  const all: Listing = { files, folders: [...folders] };
  for (const { name, path } of folders) {
    const inside = await listTree(path, { prefix: `${name}/`, above: [...above, real], signal });
    for (const file of inside.files) all.files.push(file);
    for (const folder of inside.folders) all.folders.push(folder);
  }
  all.files.sort((a, b) => byName(a.name, b.name));
  return all;
}

/** One file as a source of its own. */
export async function fileAt(path: string): Promise<SourceFile> {
  const { size, mtimeMs } = await reading(path, () => stat(path));
  return { name: basename(path), path, bytes: size, modified: mtimeMs };
}

/** Takes bytes from a stream in pieces of the lengths asked for; a piece is shorter where the stream ends. */
export interface ByteReader {
  take(length: number): Promise<Buffer>;
  close(): Promise<void>;
}

export function byteReader(stream: AsyncIterable<Uint8Array>): ByteReader {
  const chunks = stream[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  return {
    async take(length) {
      // Collected, not set aside beforehand: a damaged header may ask for more than the machine has.
      const parts: Uint8Array[] = [];
      for (let missing = length; missing > 0;) {
        if (rest.length === 0) {
          const next = await chunks.next();
          if (next.done) break;
          rest = next.value;
        }
        const part = rest.subarray(0, missing);
        parts.push(part);
        missing -= part.length;
        rest = rest.subarray(part.length);
      }
      return Buffer.concat(parts);
    },
    async close() {
      await chunks.return?.();
    },
  };
}

/** The bytes of a file, unpacked when they are gzip, whatever the file's name says. */
export async function openBytes(path: string): Promise<ByteReader> {
  const start = byteReader(createReadStream(path, { end: 1 }));
  const magic = await reading(path, () => start.take(2));
  const plain = createReadStream(path, { highWaterMark: 1 << 18 });
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return byteReader(plain);
  return byteReader(pipeline(plain, createGunzip(), () => {})); // the iteration tells of errors
}

/** Runs what reads `path`, and says in a sentence what the system or the unpacker said. */
export async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "ENOENT" || code === "ENOTDIR") throw new UserError(`${path}: there is no such file; check the path`);
    if (code === "EACCES" || code === "EPERM")
      throw new UserError(`${path}: no permission to read it; change its permissions`, { cause: error });
    if (code.startsWith("Z_"))
      throw new UserError(`${path}: it is cut short or damaged (${(error as Error).message}); fetch it again`, {
        cause: error,
      });
    throw error;
  }
}
