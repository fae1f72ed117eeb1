/** NumPy archives: a zip of arrays, each read on demand. Knows nothing of what the arrays mean. */

import type { Entry } from "yauzl";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { pathText } from "../files/regular.ts";
import { openZip, type ZipArchive } from "../files/zip.ts";
import { type ByteReader, byteReader } from "./files.ts";
import { arrayOf, type NpyArray, type NpyHeader, readNpyHeader, valueBytes } from "./npy.ts";

export interface Npz {
  path: string;
  /** The arrays' names, as given to `numpy.savez`. */
  names: string[];
  header(name: string): Promise<NpyHeader>;
  /** Reads a whole array of at most 64 MB. */
  read(name: string): Promise<NpyArray>;
  /** Streams the stored values of an array too large for memory; close the reader after use. */
  values(name: string): Promise<{ header: NpyHeader; bytes: ByteReader }>;
  close(): void;
}

/** Opens an archive, compressed or not. Throws a UserError for any fault of the file. Close it after use. */
export async function openNpz(path: string): Promise<Npz> {
  const zip = await openZip(path);
  const entries = [...zip.entries].filter(([name]) => name.endsWith(".npy"));
  return npzOf(zip, new Map(entries.map(([name, entry]) => [name.slice(0, -".npy".length), entry])));
}

function npzOf(zip: ZipArchive, entries: ReadonlyMap<string, Entry>): Npz {
  const path = pathText(zip.path);
  const where = (name: string) => `${path}: ${shown(name)}`;
  const entryOf = (name: string): Entry => {
    const entry = entries.get(name);
    if (entry) return entry;
    const there = [...entries.keys()].slice(0, 8).map((one) => shown(one, 40));
    throw new UserError({
      subject: path,
      problem: `it has no array "${name}", only ${there.join(", ") || "other files"}`,
    });
  };
  const values = async (name: string) => {
    const entry = entryOf(name);
    const bytes = byteReader(zip.stream(entry));
    try {
      const header = await readNpyHeader(bytes.take, where(name));
      const expected = valueBytes(header);
      if (expected > entry.uncompressedSize)
        throw new UserError({
          subject: where(name),
          problem: `its header claims ${byteCount(expected)} of values, but it has ${byteCount(entry.uncompressedSize)}`,
          hint: "save or download the file again",
        });
      return { header, bytes };
    } catch (error) {
      await bytes.close();
      throw error;
    }
  };
  return {
    path: zip.path,
    names: [...entries.keys()],
    values,
    async header(name) {
      const { header, bytes } = await values(name);
      await bytes.close();
      return header;
    },
    async read(name) {
      const { header, bytes } = await values(name);
      try {
        const expected = valueBytes(header);
        if (expected > limits.arrayBytes)
          throw new UserError({
            subject: where(name),
            problem: `it has ${byteCount(expected)} of values`,
            expected: `at most ${byteCount(limits.arrayBytes)}`,
            hint: "check that this is the right array",
          });
        // Reading one extra byte detects excess bytes and triggers the checksum test.
        return arrayOf(header, await bytes.take(expected + 1), where(name));
      } finally {
        await bytes.close();
      }
    },
    close: () => zip.close(),
  };
}
