/** Folders on a disk, and file system errors as messages for users. Knows nothing of what is written. */

import { lstatSync, readlinkSync, statSync } from "node:fs";
import { mkdir, open, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { UserError } from "../core/errors.ts";

/** Creates a folder and its missing parents. Throws a UserError if it cannot. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeMissing(resolve(path));
  } catch (error) {
    throw explained(error, { path });
  }
}

/** mkdir's own `recursive` never returns in Node 20 on a file system, such as /proc, that allows no new folders. */
async function makeMissing(path: string, { again = true } = {}): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (await isFolder(path)) return;
    const above = dirname(path);
    if (codeOf(error) !== "ENOENT" || above === path) throw error;
    if ((await isFolder(above)) === undefined) await makeMissing(above);
    else if (!again) throw error;
    // Try once more, because another process may have just created the parent.
    await makeMissing(path, { again: false });
  }
}

/** True for a folder, false for anything else that exists, undefined if nothing does. */
export const isFolder = (path: string): Promise<boolean | undefined> =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => undefined,
  );

/** Makes renames in a folder durable. Errors are ignored, because not every platform can open a folder. */
export async function syncFolder(dir: string): Promise<void> {
  const handle = await open(dir, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

/** Flushes a file to the disk; does nothing if the file does not exist. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, "r+").catch(() => undefined);
  await handle?.sync();
  await handle?.close();
}

/** The first dangling link in a path and its target, usually on a disk that is not mounted. */
export function danglingLink(path: string): { link: string; to: string } | undefined {
  const parts: string[] = [];
  for (let at = resolve(path); ; at = dirname(at)) {
    parts.unshift(at);
    if (dirname(at) === at) break;
  }
  for (const part of parts) {
    const entry = attempt(() => lstatSync(part));
    if (!entry) return undefined;
    if (entry.isSymbolicLink() && !attempt(() => statSync(part))) return { link: part, to: readlinkSync(part) };
  }
  return undefined;
}

/** Undefined if the path is missing, is below something that is not a folder, or is a loop of links. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** Why nothing can be written at a path, and what to do about it. */
interface Reason {
  problem: string;
  hint: string;
}

export const danglingReason = ({ link, to }: { link: string; to: string }): Reason => ({
  problem: `${link} is a link to ${to}, which does not exist`,
  hint: "mount that disk, or choose another path",
});

export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;

/** Turns a known system error into a UserError; returns any other error unchanged. */
export function explained(error: unknown, at: { path: string; progress?: string; previous?: string }): unknown {
  const code = codeOf(error) ?? "";
  if (error instanceof UserError || !code) return error;
  const dangling = ["ENOENT", "EEXIST", "ENOTDIR", "ELOOP"].includes(code) ? danglingLink(at.path) : undefined;
  const reason = dangling ? danglingReason(dangling) : reasonOf(code, at);
  if (!reason) return error;
  const untouched = at.previous ? `; the previous ${at.previous} is untouched` : "";
  return new UserError(
    { problem: `cannot write ${at.path}: ${reason.problem}`, hint: `${reason.hint}${untouched}` },
    { cause: error },
  );
}

function reasonOf(code: string, { path, progress }: { path: string; progress?: string }): Reason | undefined {
  const done = progress ? ` (${progress})` : "";
  const space = "free some space and run again";
  const other = "choose another folder";
  const file: Reason = {
    problem: "part of this path is a file, but a folder is needed",
    hint: "move the file away or choose another path",
  };
  const permission: Reason = {
    problem: `no permission to write in ${dirname(path)}`,
    hint: "choose another folder or change its permissions",
  };
  const reasons: Record<string, Reason> = {
    ENOSPC: { problem: `the disk is full${done}`, hint: space },
    EDQUOT: { problem: `your disk quota is used up${done}`, hint: space },
    EFBIG: {
      problem: `the file exceeds the size limit there${done}`,
      hint: "raise the limit or choose another folder",
    },
    EACCES: permission,
    EPERM: permission,
    EROFS: { problem: `${dirname(path)} is on a disk mounted read-only`, hint: other },
    ENOENT: { problem: "no files or folders can be created there", hint: other },
    ENOTDIR: file,
    EEXIST: file,
    EISDIR: {
      problem: "a folder of this name exists, but a file must be written there",
      hint: "move it away or choose another path",
    },
    ENAMETOOLONG: { problem: "the name is too long for this disk", hint: "choose a shorter one" },
  };
  return reasons[code];
}
