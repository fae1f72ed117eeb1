/** Folders on a disk, and what a disk refuses as one sentence. Knows nothing of what is written. */

import { lstatSync, readlinkSync, statSync } from "node:fs";
import { mkdir, open, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { UserError } from "../core/errors.ts";

/** Makes a folder and the missing ones above it. A UserError says what prevents it. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeMissing(resolve(path));
  } catch (error) {
    throw explained(error, { path });
  }
}

/** Not mkdir's own `recursive`: in Node 20 it never returns where a file system such as /proc makes no folders. */
async function makeMissing(path: string, { again = true } = {}): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (await isFolder(path)) return;
    const above = dirname(path);
    if (codeOf(error) !== "ENOENT" || above === path) throw error;
    if ((await isFolder(above)) === undefined) await makeMissing(above);
    else if (!again) throw error;
    // Once more, for another process may have made the one above just now.
    await makeMissing(path, { again: false });
  }
}

/** True for a folder, false for anything else that is there, undefined for nothing. */
export const isFolder = (path: string): Promise<boolean | undefined> =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => undefined,
  );

/** Makes the renames in a folder durable. Not every platform can open a folder, so a refusal is no failure. */
export async function syncFolder(dir: string): Promise<void> {
  const handle = await open(dir, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

/** Makes what was appended to a file durable; a file that is not there has nothing to lose. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, "r+").catch(() => undefined);
  await handle?.sync();
  await handle?.close();
}

/** The first part of a path that is a link to nothing, and where it leads: usually a disk that is not mounted. */
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

/** Undefined for what is missing, below something that is no folder, or a loop of links. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

export const danglingReason = ({ link, to }: { link: string; to: string }): string =>
  `${link} is a link to ${to}, which is not there; mount that disk, or choose another path`;

export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;

/** A system error as the one sentence a user needs; any other error as it is. */
export function explained(error: unknown, at: { path: string; progress?: string; previous?: string }): unknown {
  const code = codeOf(error) ?? "";
  if (error instanceof UserError || !code) return error;
  const dangling = ["ENOENT", "EEXIST", "ENOTDIR", "ELOOP"].includes(code) ? danglingLink(at.path) : undefined;
  const reason = dangling ? danglingReason(dangling) : reasonOf(code, at);
  if (!reason) return error;
  const untouched = at.previous ? `; the previous ${at.previous} is untouched` : "";
  return new UserError(`cannot write ${at.path}: ${reason}${untouched}`, { cause: error });
}

function reasonOf(code: string, { path, progress }: { path: string; progress?: string }): string | undefined {
  const file = "a part of this path is a file where a folder is needed; move it away or choose another path";
  const permission = `no permission to write in ${dirname(path)}; choose another place or change its permissions`;
  const reasons: Record<string, string> = {
    ENOSPC: `the disk is full${progress ? ` (${progress})` : ""}; free some space and run again`,
    EDQUOT: `your disk quota is used up${progress ? ` (${progress})` : ""}; free some space and run again`,
    EFBIG: `a file may not become as large there${progress ? ` (${progress})` : ""}; raise the limit or choose another place`,
    EACCES: permission,
    EPERM: permission,
    EROFS: `${dirname(path)} is on a disk mounted read-only; choose another place`,
    ENOENT: `no files or folders can be made there; choose another place`,
    ENOTDIR: file,
    EEXIST: file,
    EISDIR: `there is a folder of this name where a file should go; move it away or choose another path`,
    ENAMETOOLONG: `the name is too long for this disk; choose a shorter one`,
  };
  return reasons[code];
}
