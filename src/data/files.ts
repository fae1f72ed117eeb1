/** Lists the files of a folder in a fixed order, and reads their bytes in pieces. Knows nothing of formats. */

import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { basename, join, sep } from "node:path";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { type FilePath, firstBytes, openRegular, pathText, reading } from "../files/regular.ts";
import { byName, type LeftOut, leavingOut, type SourceFile } from "./source.ts";

export interface Listing {
  /** Includes dangling links, with 0 bytes, so that reading them reports them as missing. */
  files: SourceFile[];
  folders: Folder[];
  /** Entries in neither list. */
  leftOut: LeftOut[];
  /** Names that are not valid UTF-8 and were read as Latin-1. */
  latin1: string[];
  /** Dangling links, which may have pointed to a folder. */
  dangling: { name: string; to: string }[];
}

interface Folder {
  name: string;
  path: string;
  raw?: Buffer;
  /** Whether it is a link. */
  linked: boolean;
}

/** Files that operating systems hide or create automatically. */
const hidden = /^\./;
const kept =
  /^(__MACOSX|@eaDir|#recycle|#snapshot|@Recycle|\$RECYCLE\.BIN|RECYCLER|System Volume Information|lost\+found|Thumbs\.db|ehthumbs\.db|desktop\.ini)$/i;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes a name; one that is not valid UTF-8 is read as Latin-1, which old archives use. */
function nameOf(bytes: Buffer): { text: string; isUtf8: boolean } {
  try {
    return { text: utf8.decode(bytes), isUtf8: true };
  } catch {
    return { text: bytes.toString("latin1"), isUtf8: false };
  }
}

const pathIn = (folder: FilePath, entry: Buffer): Buffer =>
  Buffer.concat([Buffer.from(folder), Buffer.from(sep), entry]);

interface Walk {
  leaveOut: ReturnType<typeof leavingOut>;
  latin1: string[];
  dangling: Listing["dangling"];
}

async function listOne(
  folder: { path: string; raw?: Buffer },
  prefix: string,
  { leaveOut, latin1, dangling }: Walk,
): Promise<Pick<Listing, "files" | "folders">> {
  const listing: Pick<Listing, "files" | "folders"> = { files: [], folders: [] };
  const from = folder.raw ?? folder.path;
  const entries = await reading(from, () => readdir(from, { withFileTypes: true, encoding: "buffer" }));
  const named = entries.map((entry) => ({ entry, ...nameOf(entry.name) })).sort((a, b) => byName(a.text, b.text));
  for (const { entry, text, isUtf8 } of named) {
    const shortName = text.normalize("NFC");
    // A disk may store the same name composed or decomposed; normalise it so that the result does not depend on that.
    const name = prefix + shortName;
    if (hidden.test(text)) leaveOut.add(name, "hidden");
    else if (kept.test(text)) leaveOut.add(name, "a system file");
    if (hidden.test(text) || kept.test(text)) continue;
    if (!isUtf8) latin1.push(name);
    const raw = isUtf8 && !folder.raw ? undefined : pathIn(from, entry.name);
    const path = join(folder.path, text);
    const found = await stat(raw ?? path).catch(() => undefined);
    if (found?.isDirectory()) listing.folders.push({ name, path, raw, linked: entry.isSymbolicLink() });
    else if (found && !found.isFile()) leaveOut.add(name, "neither a file nor a folder");
    else {
      if (!found && entry.isSymbolicLink()) dangling.push({ name, to: await target(raw ?? path) });
      listing.files.push({ name, path, raw, bytes: found?.size ?? 0, modified: found?.mtimeMs ?? 0 });
    }
  }
  return listing;
}

const target = (path: FilePath): Promise<string> => readlink(path, "utf8").catch(() => "somewhere");

const newWalk = (): Walk => ({ leaveOut: leavingOut(), latin1: [], dangling: [] });

/** Lists the files directly in a folder, in a fixed order; follows links and leaves out hidden files. */
export async function listFolder(folder: string, { prefix = "" } = {}): Promise<Listing> {
  const walk = newWalk();
  const found = await listOne({ path: folder }, prefix, walk);
  return { ...found, leftOut: walk.leaveOut.list, latin1: walk.latin1, dangling: walk.dangling };
}

/**
 * Lists a folder and all folders below it, sorted by name. Every folder is listed once, however many links point to it:
 * under its own name if that is below `folder`, otherwise under the first link's name.
 */
export async function listTree(folder: string, { signal }: { signal?: AbortSignal } = {}): Promise<Listing> {
  const walk = newWalk();
  const all: Listing = {
    files: [],
    folders: [],
    leftOut: walk.leaveOut.list,
    latin1: walk.latin1,
    dangling: walk.dangling,
  };
  const seen = new Map<string, string>();
  const links: Folder[] = [];
  const own: Folder[] = [{ name: "", path: folder, linked: false }];
  // Links are visited last, so that a folder is listed under its own name.
  for (let at: Folder | undefined; (at = own.pop() ?? links.shift());) {
    signal?.throwIfAborted();
    const path = at.raw ?? at.path;
    const real = (await reading(path, () => realpath(path, "latin1"))) as string;
    const same = seen.get(real);
    if (same !== undefined) {
      walk.leaveOut.add(
        at.name,
        same === "" ? "a link to the folder itself" : "a link to a folder that is already included",
      );
      continue;
    }
    seen.set(real, at.name);
    if (at.name !== "") all.folders.push(at);
    if (at.name.split("/").length > limits.folderDepth)
      throw new UserError({
        subject: pathText(folder),
        problem: `its folders are nested more than ${limits.folderDepth} deep (${at.name.slice(0, 80)}…)`,
        hint: "give the folder that contains the images",
      });
    const { files, folders } = await listOne(at, at.name === "" ? "" : `${at.name}/`, walk);
    for (const file of files) all.files.push(file);
    if (all.files.length > limits.folderFiles)
      throw new UserError({
        subject: pathText(folder),
        problem: `it contains more than ${limits.folderFiles} files`,
        hint: "give one of its subfolders",
      });
    for (const inside of folders.reverse()) (inside.linked ? links : own).push(inside);
  }
  all.files.sort((a, b) => byName(a.name, b.name));
  all.folders.sort((a, b) => byName(a.name, b.name));
  return all;
}

/** A single file as a source. */
export async function fileAt(path: string): Promise<SourceFile> {
  const { size, mtimeMs } = await reading(path, () => stat(path));
  return { name: basename(path), path, bytes: size, modified: mtimeMs };
}

/** Reads pieces of requested lengths from a stream; a piece is shorter at the end of the stream. */
export interface ByteReader {
  take(length: number): Promise<Buffer>;
  close(): Promise<void>;
}

export function byteReader(stream: AsyncIterable<Uint8Array>): ByteReader {
  const chunks = stream[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  return {
    async take(length) {
      // Not allocated up front: a damaged header may ask for more memory than the machine has.
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

/** Reads a file, decompressed if its content is gzip, whatever its name. */
export async function openBytes(path: string): Promise<ByteReader> {
  return byteReader(await openStream(path));
}

/** `openBytes` as a stream. */
export async function openStream(path: string): Promise<AsyncIterable<Uint8Array>> {
  const magic = await firstBytes(path, 2);
  const handle = await openRegular(path);
  const plain = handle.createReadStream({ highWaterMark: 1 << 18 });
  if (magic[0] !== 0x1f || magic[1] !== 0x8b) return plain;
  return pipeline(plain, createGunzip(), () => {}); // iterating reports errors
}
