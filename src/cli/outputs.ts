/** Checks up front that an output can be written, before an hour of work goes into it. */

import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname, extname, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { danglingLink, danglingReason } from "../files/disk.ts";
import { own, type Ownership } from "../files/ownership.ts";

/** Throws a UserError if no file can be written at `path`, as far as can be told up front. `endings` are lower case. */
export function checkFile(path: string, { option, endings }: { option: string; endings: readonly string[] }): void {
  if (!endings.includes(extname(path).toLowerCase()))
    throw new UserError(`${option}: expected a file name ending in ${endings.join(" or ")}, got "${path}"`);
  if (kindOf(path) === "folder" || /[/\\]$/.test(path))
    throw new UserError(`${option}: ${path} is a folder; expected a file name`);
  checkFolder(dirname(path), { option });
}

/** Throws a UserError unless the folder exists and is writable, or can be created. */
export function checkFolder(path: string, { option }: { option: string }): void {
  const dangling = danglingLink(path);
  if (dangling) throw new UserError({ subject: option, ...danglingReason(dangling) });
  let at = resolve(path);
  while (kindOf(at) === undefined && dirname(at) !== at) at = dirname(at);
  if (kindOf(at) === "file")
    throw new UserError(`${option}: ${at} is a file, but a folder is needed; choose another path`);
  try {
    accessSync(at, constants.W_OK);
  } catch {
    throw new UserError(`${option}: no permission to write in ${at}; choose another place or change its permissions`);
  }
}

/** Claims the path of a new folder or file. Throws a UserError if it exists, cannot be written, or is claimed by another process. */
export async function ownNew(
  path: string,
  { option, what = "folder", signal }: { option: string; what?: "folder" | "file"; signal?: AbortSignal },
): Promise<Ownership> {
  checkFolder(what === "folder" ? path : dirname(path), { option });
  const owned = await own(path, { signal });
  if (what === "folder") await recoverFolder(path);
  if (!existsSync(path)) return owned;
  await owned.release();
  throw new UserError(`${option}: ${path} already exists; choose a new ${what} name`);
}

function kindOf(path: string): "file" | "folder" | undefined {
  try {
    return statSync(path).isDirectory() ? "folder" : "file";
  } catch {
    return undefined; // missing, or its parent is not a folder
  }
}
