/** Atomic writing of files and folders: a reader never sees an incomplete one. Knows nothing of their contents. */

import { statSync } from "node:fs";
import { appendFile, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { UserError } from "../core/errors.ts";
import { codeOf, explained, isFolder, makeFolder, syncFolder } from "./disk.ts";
import { own, type Ownership, ownerName } from "./ownership.ts";
import { changedMs, isAbandoned, isOfHere, temporaries, temporariesOf, temporaryName } from "./temporary.ts";

export type Write = (bytes: Uint8Array) => Promise<void>;

/**
 * Writes `content` (bytes, text, or a function that passes one piece after another to `write`) under a temporary name
 * next to `path`, then renames it into place. On an error `path` is unchanged and nothing is left behind. A full disk,
 * a missing permission or a folder in the way is a UserError; `totalBytes`, if known, is mentioned in its message.
 */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string | ((write: Write) => Promise<void>),
  { totalBytes }: { totalBytes?: number } = {},
): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const writer = bytes instanceof Uint8Array ? (write: Write) => write(bytes) : bytes;
  const total = bytes instanceof Uint8Array ? bytes.length : totalBytes;
  const temporary = temporaryName(path);
  let written = 0;
  let handle: FileHandle | undefined;
  try {
    await makeFolder(dirname(path));
    await removePartial(path);
    handle = await open(temporary, "wx");
    const file = handle;
    await writer(async (piece) => {
      // A single call may write fewer bytes than requested, for example on a nearly full disk or above 2 GB.
      for (let at = 0; at < piece.length;) {
        const { bytesWritten } = await file.write(piece, at, Math.min(piece.length - at, 1 << 28));
        at += bytesWritten;
        written += bytesWritten;
      }
    });
    await handle.sync();
    await handle.close();
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await handle?.close().catch(() => {});
    await rm(temporary, { force: true }).catch(() => {});
    const previous = (await isFolder(path)) === false;
    throw explained(error, { path, progress: progress(written, total), previous: previous ? "file" : undefined });
  }
}

/**
 * Appends a line to a log; throws a UserError if it cannot. A kill may leave an incomplete line, but loses no earlier
 * one.
 */
export async function appendLine(path: string, line: string): Promise<void> {
  await appendFile(path, `${line}\n`).catch((error: unknown) => {
    throw explained(error, { path });
  });
}

export interface Replacing {
  /** The caller's own claim to the folder. By default the folder is claimed for the duration of the call. */
  owned?: Ownership;
}

/**
 * Fills a temporary folder next to `dir`, then swaps it in: `dir` is renamed to another temporary name, the new folder
 * is renamed to `dir`, and the old one is removed. A kill or power failure at any moment leaves a complete folder at
 * `dir` or, between the two renames, at the temporary name, from which `recoverFolder(dir)` restores it; readers
 * therefore call that first. If two processes write the same folder, the second gets a UserError that names the first.
 */
export async function replaceFolder(
  dir: string,
  fill: (temporary: string) => Promise<void>,
  { owned }: Replacing = {},
): Promise<void> {
  const target = resolve(dir);
  if (dir.trim() === "" || `${process.cwd()}${sep}`.startsWith(target.endsWith(sep) ? target : `${target}${sep}`))
    throw new UserError({
      problem: `"${dir}" is the current folder or one of its parents`,
      hint: "choose another folder to write",
    });
  const ownership = owned ?? (await own(dir));
  const temporary = temporaryName(target);
  try {
    if ((await isFolder(target)) === false) throw Object.assign(new Error(`${dir} is a file`), { code: "ENOTDIR" });
    await recoverFolder(target);
    await removeStrays(dirname(target), { of: basename(target) });
    await mkdir(temporary);
    await fill(temporary);
    await syncFolder(temporary);
    await ownership.check();
    const old = await swapIn(temporary, target);
    if (old) await rm(old, { recursive: true, force: true });
    await syncFolder(dirname(target));
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    await recoverFolder(target);
    // The error of a file inside names the temporary folder, which means nothing to the user.
    const inside = error instanceof UserError && error.message.includes(temporary) && error.cause ? error.cause : error;
    throw explained(inside, { path: dir, previous: (await isFolder(target)) ? "folder" : undefined });
  } finally {
    if (!owned) await ownership.release();
  }
}

/**
 * Completes an interrupted `replaceFolder`: if `dir` is missing and its old version has a temporary name, renames that
 * back. Returns true if it did. Never removes anything, so it is safe to call before every read.
 */
export async function recoverFolder(dir: string): Promise<boolean> {
  const target = resolve(dir);
  if ((await isFolder(target)) !== undefined) return false;
  const found: { path: string; made: number }[] = [];
  for (const { path, of, kind } of await temporaries(dirname(target))) {
    if (of !== basename(target) || kind !== "old") continue;
    found.push({ path, made: (await changedMs(path)) ?? 0 });
  }
  // Several kills may have left several old folders.
  const latest = found.toSorted((a, b) => b.made - a.made)[0];
  // The rename fails if a writer completed its second rename first, or if the disk is read-only.
  if (!latest || !(await renamed(latest.path, target))) return false;
  await syncFolder(dirname(target));
  return true;
}

/**
 * Reads a folder that another process may replace meanwhile, as a training run replaces its checkpoint, and reads again
 * if it did. Completes an interrupted `replaceFolder` first.
 */
export async function readFolder<T>(dir: string, read: () => T | Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    await recoverFolder(dir);
    const before = identityOf(dir);
    const replaced = () => attempt < 9 && identityOf(dir) !== before;
    try {
      const value = await read();
      if (!replaced()) return value;
    } catch (error) {
      if (!replaced()) throw error;
    }
  }
}

function identityOf(dir: string): string | undefined {
  const found = statSync(dir, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev} ${found.ino} ${found.birthtimeNs}`;
}

/**
 * Does the two renames, and starts over if a reader's recovery restored the old folder in between. Returns the old
 * folder.
 */
async function swapIn(temporary: string, target: string): Promise<string | undefined> {
  for (let attempt = 0; ; attempt++) {
    const old = (await isFolder(target)) ? temporaryName(target, "old") : undefined;
    if (old) await rename(target, old);
    try {
      await rename(temporary, target);
      return old;
    } catch (error) {
      if (attempt === 3 || !["ENOTEMPTY", "EEXIST"].includes(codeOf(error) ?? "")) throw error;
    }
  }
}

/**
 * Removes temporary files that dead processes left in a folder, or restores an old version if no other exists. With
 * `of`, whose owner the caller must be, removes everything that belongs to that name; with `previous`, what that
 * process left.
 */
export async function removeStrays(
  folder: string,
  { of, previous }: { of?: string; previous?: { pid: number } } = {},
): Promise<void> {
  for (const stray of await temporaries(folder)) {
    const owned = of === undefined ? stray.pid === previous?.pid : stray.of === of;
    if (of !== undefined && !owned && stray.of !== ownerName(of)) continue;
    if (!owned && !(await isAbandoned(stray))) continue;
    if (stray.kind === "old") await recoverFolder(join(folder, stray.of));
    await rm(stray.path, { recursive: true, force: true });
  }
}

/** Folders that files were written to: their entries at the last listing, and the writes since then. */
const listings = new Map<string, { entries: number; writes: number }>();

/**
 * Before a file is written, removes what dead processes left unfinished: this file, and others of this machine. A large
 * folder is not listed for every file that is written to it: 50,000 images would read 1.25 billion entries.
 */
async function removePartial(path: string): Promise<void> {
  const folder = dirname(path);
  const last = listings.get(folder);
  if (last && 100 * ++last.writes < last.entries) return;
  const names = await readdir(folder).catch(() => []);
  listings.set(folder, { entries: names.length, writes: 0 });
  for (const stray of temporariesOf(folder, names))
    if (stray.kind === "partial" && (stray.of === basename(path) || isOfHere(stray)) && (await isAbandoned(stray)))
      await rm(stray.path, { force: true, recursive: true });
}

const renamed = (from: string, to: string): Promise<boolean> =>
  rename(from, to).then(
    () => true,
    () => false,
  );

const progress = (written: number, total: number | undefined): string =>
  total === undefined ? `wrote ${size(written)}` : `wrote ${size(written)} of ${size(total)}`;

function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
