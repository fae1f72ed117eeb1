/** Writing files and folders so that a reader never meets half of one; knows nothing of what is in them. */

import { randomBytes } from "node:crypto";
import { appendFile, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { UserError } from "../core/errors.ts";

export type Write = (bytes: Uint8Array) => Promise<void>;

/**
 * Writes `content` (bytes, a text, or a function that hands over piece after piece) under a temporary name beside
 * `path`, then renames it into place. On an error `path` stays as it was and nothing is left behind; a full disk, a
 * missing permission or a folder in the way is a UserError. `totalBytes`, where known, goes into that sentence.
 */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string | ((write: Write) => Promise<void>),
  { totalBytes }: { totalBytes?: number } = {},
): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const writer = bytes instanceof Uint8Array ? (write: Write) => write(bytes) : bytes;
  const total = bytes instanceof Uint8Array ? bytes.length : totalBytes;
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.partial`);
  let written = 0;
  let handle: FileHandle | undefined;
  try {
    await mkdir(dirname(path), { recursive: true });
    await removeAbandoned(path);
    handle = await open(temporary, "wx");
    const file = handle;
    await writer(async (piece) => {
      // One call may take fewer bytes than asked, on a nearly full disk and above 2 GB.
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

/** Makes a folder and those above it, where they are missing; what keeps it from that is a UserError. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((error: unknown) => {
    throw explained(error, { path });
  });
}

/** Adds a line to a log; what keeps it from that is a UserError. A kill may leave half a line, never less than was there. */
export async function appendLine(path: string, line: string): Promise<void> {
  await appendFile(path, `${line}\n`).catch((error: unknown) => {
    throw explained(error, { path });
  });
}

/**
 * Fills a temporary folder beside `dir` (`dir.new`), then puts it in the place of `dir`: `dir` becomes `dir.old`,
 * `dir.new` becomes `dir`, `dir.old` is removed. A kill at any moment leaves a complete folder at `dir` or, between the
 * two renames, at `dir.old`; readers therefore call `recoverFolder(dir)` first. One writer at a time per folder.
 */
export async function replaceFolder(dir: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  const target = resolve(dir);
  if (dir.trim() === "" || `${process.cwd()}${sep}`.startsWith(target.endsWith(sep) ? target : `${target}${sep}`))
    throw new UserError(`"${dir}" is the folder you are in, or one around it; give the name of a folder to write`);
  const [fresh, old] = [`${target}.new`, `${target}.old`];
  try {
    await mkdir(dirname(target), { recursive: true });
    if ((await isFolder(target)) === false) throw Object.assign(new Error(`${dir} is a file`), { code: "ENOTDIR" });
    await recoverFolder(target);
    await rm(fresh, { recursive: true, force: true });
    await mkdir(fresh);
    await fill(fresh);
    await syncFolder(fresh);
    await swapIn(target);
    await rm(old, { recursive: true, force: true });
    await syncFolder(dirname(target));
  } catch (error) {
    await rm(fresh, { recursive: true, force: true }).catch(() => {});
    await recoverFolder(target).catch(() => false);
    // A file's own complaint names the temporary folder, of which the user knows nothing.
    const inside = error instanceof UserError && error.message.includes(fresh) && error.cause ? error.cause : error;
    throw explained(inside, { path: dir, previous: (await isFolder(target)) ? "folder" : undefined });
  }
}

/**
 * The recovery rule of `replaceFolder`: where `dir` is missing and `dir.old` is there, renames it back. True when it
 * did. Never removes anything, so it is safe to call before every reading.
 */
export async function recoverFolder(dir: string): Promise<boolean> {
  const target = resolve(dir);
  if ((await isFolder(target)) !== undefined || !(await isFolder(`${target}.old`))) return false;
  await rename(`${target}.old`, target);
  await syncFolder(dirname(target));
  return true;
}

/** The two renames; again from the start when a reader's recovery put the old folder back between them. */
async function swapIn(target: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    if (await isFolder(target)) {
      await rm(`${target}.old`, { recursive: true, force: true });
      await rename(target, `${target}.old`);
    }
    try {
      return await rename(`${target}.new`, target);
    } catch (error) {
      if (attempt === 3 || !["ENOTEMPTY", "EEXIST"].includes(codeOf(error) ?? "")) throw error;
    }
  }
}

/** Removes what a killed process left of an earlier writing of `path`: its process is gone and it stopped growing. */
async function removeAbandoned(path: string): Promise<void> {
  const prefix = `.${basename(path)}.`;
  for (const name of await readdir(dirname(path))) {
    const match = name.startsWith(prefix) ? /^(\d+)-[0-9a-f]{8}\.partial$/.exec(name.slice(prefix.length)) : null;
    if (!match || isRunning(Number(match[1]))) continue;
    const file = join(dirname(path), name);
    const changed = await stat(file).then(
      ({ mtimeMs }) => mtimeMs,
      () => Infinity,
    );
    // The minute is for another container that shares the disk but not the process numbers.
    if (Date.now() - changed > 60_000) await rm(file, { force: true }).catch(() => {});
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

/** Makes the renames in a folder durable; not every platform can open a folder, so a refusal is no failure. */
async function syncFolder(dir: string): Promise<void> {
  const handle = await open(dir, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

/** True for a folder, false for anything else that is there, undefined for nothing. */
const isFolder = (path: string): Promise<boolean | undefined> =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => undefined,
  );

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;

/** A system error as the one sentence a user needs; any other error as it is. */
function explained(error: unknown, at: { path: string; progress?: string; previous?: string }): unknown {
  const reasons: Record<string, string> = {
    ENOSPC: `the disk is full${at.progress ? ` (${at.progress})` : ""}; free some space and run again`,
    EDQUOT: `your disk quota is used up${at.progress ? ` (${at.progress})` : ""}; free some space and run again`,
    EFBIG: `a file may not become as large there${at.progress ? ` (${at.progress})` : ""}; raise the limit or choose another place`,
    EACCES: `no permission to write in ${dirname(at.path)}; choose another place or change its permissions`,
    EPERM: `no permission to write in ${dirname(at.path)}; choose another place or change its permissions`,
    EROFS: `${dirname(at.path)} is on a disk mounted read-only; choose another place`,
    ENOTDIR: `a part of this path is a file where a folder is needed; move it away or choose another path`,
    EEXIST: `a part of this path is a file where a folder is needed; move it away or choose another path`,
    EISDIR: `there is a folder of this name where a file should go; move it away or choose another path`,
    ENAMETOOLONG: `the name is too long for this disk; choose a shorter one`,
  };
  const reason = reasons[codeOf(error) ?? ""];
  if (error instanceof UserError || !reason) return error;
  const untouched = at.previous ? `; the previous ${at.previous} is untouched` : "";
  return new UserError(`cannot write ${at.path}: ${reason}${untouched}`, { cause: error });
}

const progress = (written: number, total: number | undefined): string =>
  total === undefined ? `wrote ${size(written)}` : `wrote ${size(written)} of ${size(total)}`;

function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
