/** The files of a data set by name, in a folder or in a tar archive. Knows nothing of their contents. */

import { basename, resolve } from "node:path";
import { extract, type Extract } from "tar-stream";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { pathText, readRegular, reading } from "../files/regular.ts";
import { fileAt, listFolder, openBytes, openStream } from "./files.ts";
import type { LeftOut, SourceFile } from "./source.ts";

export interface NamedFiles {
  name: string;
  /** The name of a file in errors. */
  where: (name: string) => string;
  names: string[];
  /** Reads all bytes, possibly from memory. */
  read: (name: string) => Promise<Uint8Array>;
  /** The files on disk that make up the data set. */
  files: SourceFile[];
  leftOut: LeftOut[];
}

/** Opens the files directly in a folder. */
export async function filesOfFolder(folder: string): Promise<NamedFiles> {
  const { files, leftOut } = await listFolder(folder);
  const byName = new Map(files.map((file) => [file.name, file]));
  return {
    name: basename(resolve(folder)),
    where: (name) => `${pathText(folder)}: ${name}`,
    names: [...byName.keys()],
    read: (name) => readRegular(byName.get(name)!.path, { most: limits.batchBytes, what: "a batch of images" }),
    files,
    leftOut,
  };
}

/** Whether a file, decompressed if it is gzip, begins like a tar archive. */
export async function isTar(path: string): Promise<boolean> {
  const bytes = await openBytes(path);
  try {
    const header = await reading(path, () => bytes.take(512)).catch(() => Buffer.alloc(0));
    return header.toString("latin1", 257, 262) === "ustar" || hasTarSum(header);
  } finally {
    await bytes.close();
  }
}

/** Archives from before 1988 have no magic word in their header, only a checksum. */
function hasTarSum(header: Buffer): boolean {
  if (header.length < 512) return false;
  const stated = Number.parseInt(header.toString("latin1", 148, 156).replace(/\0.*$/, ""), 8);
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  return sum === stated;
}

/** Resolves when the unpacker accepts more data or has been closed. */
const flowing = (unpacker: Extract) =>
  new Promise<void>((go) => {
    const over = () => {
      unpacker.off("drain", over).off("close", over);
      go();
    };
    unpacker.on("drain", over).on("close", over);
  });

/** Unpacks a tar archive, compressed or not, into memory; files are known by their names without folders. */
export async function filesOfTar(path: string): Promise<NamedFiles> {
  const found = new Map<string, Uint8Array>();
  const unpacker = extract();
  const source = await openStream(path);
  let total = 0;
  const feed = async () => {
    try {
      for await (const piece of source) {
        total += piece.length;
        if (total > limits.unpackedBytes)
          throw new UserError({
            subject: pathText(path),
            problem: `it unpacks to more than ${byteCount(limits.unpackedBytes)}`,
            hint: "unpack it and give the folder",
          });
        if (unpacker.destroyed) return;
        if (!unpacker.write(piece)) await flowing(unpacker);
      }
      (unpacker as NodeJS.WritableStream).end();
    } catch (error) {
      unpacker.destroy(error as Error);
    }
  };
  const feeding = feed();
  try {
    await reading(path, async () => {
      let entries = 0;
      for await (const entry of unpacker) {
        if (++entries > limits.archiveEntries)
          throw new UserError({
            subject: pathText(path),
            problem: `it contains more than ${limits.archiveEntries} files`,
            hint: "unpack it and give the folder",
          });
        const pieces: Uint8Array[] = [];
        for await (const piece of entry) pieces.push(piece as Uint8Array);
        if (entry.header.type === "file") found.set(basename(entry.header.name), Buffer.concat(pieces));
      }
    });
  } catch (error) {
    if (error instanceof UserError || !(error instanceof Error)) throw error;
    throw new UserError(
      {
        subject: pathText(path),
        problem: `the archive is truncated or damaged (${error.message})`,
        hint: "download it again",
      },
      {
        cause: error,
      },
    );
  } finally {
    unpacker.destroy();
    await feeding;
  }
  return {
    name: basename(path).replace(/\.(tar(\.gz)?|tgz)$/i, ""),
    where: (name) => `${pathText(path)}: ${name}`,
    names: [...found.keys()],
    read: async (name) => found.get(name)!,
    files: [await fileAt(path)],
    leftOut: [],
  };
}
