/** Names of what is not finished, and whether anyone is still writing it. */

import { createHash, randomBytes } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isRunning, thisProcess } from "./process.ts";

/** What was written so far, or what was there before and is about to go. */
type Kind = "partial" | "old";

export interface Temporary {
  path: string;
  /** The name that it was to get, or had. */
  of: string;
  pid: number;
  /** Stands for the machine and the namespace that the process number holds in. */
  place: string;
  kind: Kind;
}

/** Silence after which a writer that cannot be asked is gone. */
const silentMs = 600_000;

/** A hidden name beside `path` that no other process and no other call gives. */
export const temporaryName = (path: string, kind: Kind = "partial"): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}-${place()}${randomBytes(4).toString("hex")}.${kind}`);

export async function temporaries(folder: string): Promise<Temporary[]> {
  const names = await readdir(folder).catch(() => []);
  return names.flatMap((name) => {
    const match = /^\.(.+)\.(\d+)-([0-9a-f]{4})[0-9a-f]{8}\.(partial|old)$/.exec(name);
    if (!match) return [];
    const [, of, pid, place, kind] = match;
    return [{ path: join(folder, name), of, pid: Number(pid), place, kind: kind as Kind }];
  });
}

/** Whether its process is gone or, where it ran out of reach, has not written for long. */
export async function isAbandoned({ path, pid, place: other }: Temporary): Promise<boolean> {
  if (other === place()) return pid !== process.pid && !isRunning(pid);
  return Date.now() - ((await changedMs(path)) ?? Infinity) > silentMs;
}

/** When a file or a folder was last written to; undefined where there is none. */
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
