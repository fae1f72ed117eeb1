/** Names of unfinished files and folders, and whether anyone is still writing them. */

import { createHash, randomBytes } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isRunning, thisProcess } from "./process.ts";

/** A new version being written, or the previous one about to be removed. */
type Kind = "partial" | "old";

export interface Temporary {
  path: string;
  /** Its final name, or the name it had. */
  of: string;
  pid: number;
  /** Identifies the machine and the namespace of the process ID. */
  place: string;
  kind: Kind;
}

/** A writer on another machine counts as dead after this long without a write. */
const silentMs = 600_000;

/** Returns a unique hidden name next to `path`. */
export const temporaryName = (path: string, kind: Kind = "partial"): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}-${place()}${randomBytes(4).toString("hex")}.${kind}`);

export const temporaries = async (folder: string): Promise<Temporary[]> =>
  temporariesOf(folder, await readdir(folder).catch(() => []));

/** The temporary ones of a folder's names. */
export const temporariesOf = (folder: string, names: readonly string[]): Temporary[] =>
  names.flatMap((name) => {
    const match = /^\.(.+)\.(\d+)-([0-9a-f]{4})[0-9a-f]{8}\.(partial|old)$/.exec(name);
    if (!match) return [];
    const [, of, pid, place, kind] = match;
    return [{ path: join(folder, name), of, pid: Number(pid), place, kind: kind as Kind }];
  });

/** Whether its process runs or ran on this machine, and in this container. */
export const isOfHere = ({ place: other }: Temporary): boolean => other === place();

/** Whether its process has ended or, if it ran on another machine or in another container, has not written for long. */
export async function isAbandoned(temporary: Temporary): Promise<boolean> {
  const { path, pid } = temporary;
  if (isOfHere(temporary)) return pid !== process.pid && !isRunning(pid);
  return Date.now() - ((await changedMs(path)) ?? Infinity) > silentMs;
}

/** When a file or folder was last written to, in milliseconds; undefined if it does not exist. */
export const changedMs = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );

let known: string | undefined;

function place(): string {
  const { boot, namespace, host } = thisProcess();
  const text = boot === undefined || namespace === undefined ? host : `${boot} ${namespace}`;
  return (known ??= createHash("sha256").update(text).digest("hex").slice(0, 4));
}
