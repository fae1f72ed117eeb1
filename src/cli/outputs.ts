/** Finds what would keep an output from being written, before an hour of work goes into it. */

import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname, extname, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { danglingLink, danglingReason } from "../files/disk.ts";
import { own, type Ownership } from "../files/ownership.ts";

/** A file that can be written at `path` as far as one can tell before; `endings` are in small letters. */
export function checkFile(path: string, { option, endings }: { option: string; endings: readonly string[] }): void {
  if (!endings.includes(extname(path).toLowerCase()))
    throw new UserError(`${option}: expected a file name that ends in ${endings.join(" or ")}, got "${path}"`);
  if (kindOf(path) === "folder" || /[/\\]$/.test(path))
    throw new UserError(`${option}: ${path} is a folder, expected the name of a file`);
  checkFolder(dirname(path), { option });
}

/** A folder that is there and can be written to, or that can be made. */
export function checkFolder(path: string, { option }: { option: string }): void {
  const dangling = danglingLink(path);
  if (dangling) throw new UserError(`${option}: ${danglingReason(dangling)}`);
  let at = resolve(path);
  while (kindOf(at) === undefined && dirname(at) !== at) at = dirname(at);
  if (kindOf(at) === "file")
    throw new UserError(`${option}: ${at} is a file where a folder is needed; choose another path`);
  try {
    accessSync(at, constants.W_OK);
  } catch {
    throw new UserError(`${option}: no permission to write in ${at}; choose another place or change its permissions`);
  }
}

/** A folder or file that is made new: nothing is there, it can be written, and no other process is about to. */
export async function ownNew(
  path: string,
  { option, what = "folder", signal }: { option: string; what?: "folder" | "file"; signal?: AbortSignal },
): Promise<Ownership> {
  checkFolder(what === "folder" ? path : dirname(path), { option });
  const owned = await own(path, { signal });
  if (what === "folder") await recoverFolder(path);
  if (!existsSync(path)) return owned;
  await owned.release();
  throw new UserError(`${option}: ${path} is there already; give the name of a new ${what}`);
}

function kindOf(path: string): "file" | "folder" | undefined {
  try {
    return statSync(path).isDirectory() ? "folder" : "file";
  } catch {
    return undefined; // missing, or below something that is no folder
  }
}
