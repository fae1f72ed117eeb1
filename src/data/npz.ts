/** NumPy's archives: a zip of arrays, each read when it is asked for. Knows nothing of what the arrays mean. */

import { type Entry, openPromise, type ZipFile } from "yauzl";
import { UserError } from "../core/errors.ts";
import { type ByteReader, byteReader, reading } from "./files.ts";
import { type NpyArray, type NpyHeader, readNpy, readNpyHeader } from "./npy.ts";

export interface Npz {
  path: string;
  /** The arrays' names, as they were given to `numpy.savez`. */
  names: string[];
  header(name: string): Promise<NpyHeader>;
  read(name: string): Promise<NpyArray>;
  /** The values of an array as they are stored, for those too large to hold; close the reader after use. */
  values(name: string): Promise<{ header: NpyHeader; bytes: ByteReader }>;
  close(): void;
}

/** Opens an archive, stored or deflated; close it after use. Every fault of the file is a UserError that names it. */
export async function openNpz(path: string): Promise<Npz> {
  const zip = await explained(path, () => openPromise(path, { autoClose: false, lazyEntries: true }));
  try {
    const entries = new Map<string, Entry>();
    await explained(path, async () => {
      for await (const entry of zip.eachEntry())
        if (entry.fileName.endsWith(".npy")) entries.set(entry.fileName.slice(0, -".npy".length), entry);
    });
    return npzOf(path, zip, entries);
  } catch (error) {
    zip.close();
    throw error;
  }
}

function npzOf(path: string, zip: ZipFile, entries: ReadonlyMap<string, Entry>): Npz {
  const entryOf = (name: string): Entry => {
    const entry = entries.get(name);
    if (entry) return entry;
    throw new UserError(`${path}: it has no array "${name}"; it has ${[...entries.keys()].join(", ") || "none"}`);
  };
  const where = (name: string) => `${path}: ${name}`;
  const bytesOf = async (name: string): Promise<ByteReader> => {
    const entry = entryOf(name);
    const { take, close } = byteReader(await explained(path, () => zip.openReadStreamPromise(entry)));
    return { take: (length) => explained(path, () => take(length)), close };
  };
  const values = async (name: string) => {
    const bytes = await bytesOf(name);
    try {
      return { header: await readNpyHeader(bytes.take, where(name)), bytes };
    } catch (error) {
      await bytes.close();
      throw error;
    }
  };
  return {
    path,
    names: [...entries.keys()],
    values,
    async header(name) {
      const { header, bytes } = await values(name);
      await bytes.close();
      return header;
    },
    async read(name) {
      const bytes = await bytesOf(name);
      try {
        return await readNpy(await bytes.take(entryOf(name).uncompressedSize), where(name));
      } finally {
        await bytes.close();
      }
    },
    close: () => zip.close(),
  };
}

/** What the zip reader said, as a sentence about the file. */
function explained<T>(path: string, read: () => Promise<T>): Promise<T> {
  return reading(path, async () => {
    try {
      return await read();
    } catch (error) {
      // Errors of yauzl are plain ones without a code; anything else is for `reading` or a fault of ours.
      if (!(error instanceof Error) || error.constructor !== Error || "code" in error) throw error;
      throw new UserError(`${path}: the archive is cut short or damaged (${error.message}); fetch it again`, {
        cause: error,
      });
    }
  });
}
