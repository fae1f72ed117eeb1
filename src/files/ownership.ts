/**
 * One writer at a time for everything that is written over time: runs, converted folders, kept images, downloads.
 *
 * An owner has a file, `.owner` in the folder or `.NAME.owner` beside what it writes, that says which process it is. Nobody
 * has to remove it after a kill: of a process on this machine it is known whether it still runs. Others, on another machine
 * that shares the disk or in another container, give signs of life in the file, and are gone when none has come for a
 * minute. Times are compared by the disk's clock alone. Knows nothing of what is written.
 */

import { randomBytes } from "node:crypto";
import { link, open, readdir, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { codeOf, explained, isFolder, makeFolder } from "./disk.ts";
import { heartbeat } from "./heartbeat.ts";
import { stateOf, thisProcess } from "./process.ts";
import { temporaryName } from "./temporary.ts";

/** An owner out of reach that has given no sign of life for this long is gone. */
export const silentMs = 60_000;
const lookMs = 200;

const recordSchema = z.object({
  id: z.string(),
  pid: z.int(),
  host: z.string(),
  boot: z.string().optional(),
  namespace: z.string().optional(),
  started: z.string().optional(),
  since: z.string(),
  /** Where the file is: a copy of a folder that is in use belongs to nobody. */
  path: z.string(),
  inode: z.string(),
});

type Owned = z.infer<typeof recordSchema>;

/** Who is writing: process number, host, and since when. */
export type Owner = Pick<Owned, "pid" | "host" | "since">;

/** A claim to write somewhere, which no other process has until it is released. */
export interface Ownership {
  /** The owner before, where it ended without a word: what it left half done can be removed. */
  previous?: Owner;
  /** A UserError where another process took over, as after this one was suspended for long. */
  check(): Promise<void>;
  /** Gives it back, and removes folders that were made for it and are empty. Safe to call twice. */
  release(): Promise<void>;
}

interface ClaimOptions {
  /** The owner's file goes into the folder `path`, which is made, and not beside it. */
  inside?: boolean;
  signal?: AbortSignal;
}

/** Makes this process the owner of `path`; a UserError that names the owner where there is one. */
export async function own(path: string, options: ClaimOptions = {}): Promise<Ownership> {
  const claimed = await claim(path, options);
  if ("owner" in claimed)
    throw new UserError(`${path} is in use by ${described(claimed.owner)}; wait until it ends, or choose another name`);
  return claimed;
}

/** Makes this process the owner of `path`, or says who is. Whether an owner out of reach still lives takes seconds. */
export async function claim(
  path: string,
  { inside = false, signal }: ClaimOptions = {},
): Promise<Ownership | { owner: Owner }> {
  const target = resolve(path);
  const file = inside ? join(target, ".owner") : join(dirname(target), ownerName(basename(target)));
  const missing = await missingFolders(dirname(file));
  const mine = { ...thisProcess(), id: randomBytes(12).toString("hex"), since: new Date().toISOString() };
  try {
    const acquired = await acquire(file, mine, signal);
    if ("owner" in acquired) {
      await removeEmpty(missing);
      return acquired;
    }
    await removeRights(file);
    return ownership({ path, file, missing, id: mine.id, ...acquired });
  } catch (error) {
    await removeEmpty(missing);
    throw explained(error, { path });
  }
}

type Acquired = { text: string; previous?: Owner };

/** Makes the file that says who owns something, or tells whose it is. */
async function acquire(
  file: string,
  mine: Omit<Owned, "path" | "inode">,
  signal?: AbortSignal,
): Promise<Acquired | { owner: Owner }> {
  let previous: Owner | undefined;
  for (;;) {
    await makeFolder(dirname(file));
    const text = await created(file, { ...mine, path: file });
    if (text !== undefined) return { text, previous };
    const found = await read(file);
    if (!found) continue;
    const state = await lifeOf(file, found, signal);
    if (state === "alive")
      return { owner: found.record ?? { pid: 0, host: "", since: new Date(found.changed).toISOString() } };
    if (state === "changed") continue;
    // Another process may be removing it.
    if (await removed(file, found, { mine, signal })) previous = found.record;
    else await sleep(lookMs / 10, undefined, { signal });
  }
}

/**
 * Removes a dead owner's file. Of those who saw it dead, one at a time may look again and remove it, or else a slow one would
 * remove the file of the owner after. That right is owned as everything is; this process may be killed here, too.
 */
async function removed(
  file: string,
  { record, inode }: Found,
  { mine, signal }: { mine: Omit<Owned, "path" | "inode">; signal?: AbortSignal },
): Promise<boolean> {
  const right = `${file}-${record?.id ?? inode}`;
  if ("owner" in (await acquire(right, mine, signal))) return false;
  try {
    const now = await read(file);
    const same = now?.inode === inode && now.record?.id === record?.id;
    if (same) await rm(file, { force: true });
    return same;
  } finally {
    await rm(right, { force: true });
  }
}

/** What kills left of rights to remove earlier owners' files: those are gone. */
async function removeRights(file: string): Promise<void> {
  for (const name of await readdir(dirname(file)))
    if (name.startsWith(`${basename(file)}-`)) await rm(join(dirname(file), name), { force: true });
}

/** What the owner's file of something of this name is called. */
export const ownerName = (name: string): string => `.${name}.owner`;

/** An owner in the words of a message. */
export const described = ({ pid, host, since }: Owner): string =>
  `${host === "" ? "another process" : `process ${pid} on ${host}`} since ${since.slice(0, 19).replace("T", " ")} UTC`;

interface Held {
  path: string;
  file: string;
  missing: readonly string[];
  previous?: Owner;
  text: string;
  id: string;
}

function ownership({ path, file, missing, previous, text, id }: Held): Ownership {
  let end: (() => void) | undefined = heartbeat(file, text);
  return {
    previous,
    async check() {
      const found = await read(file);
      if (found?.record?.id === id) return;
      const who = found?.record ? `taken over by ${described(found.record)}` : `given up: ${file} was removed`;
      throw new UserError(`${path} was ${who} while this process was suspended; it writes no more`);
    },
    async release() {
      if (!end) return;
      end();
      end = undefined;
      if ((await read(file))?.record?.id === id) await rm(file, { force: true });
      await removeEmpty(missing);
    },
  };
}

/** Makes the owner's file with all that is in it, or nothing where there is one; gives its text. */
async function created(file: string, mine: Omit<Owned, "inode">): Promise<string | undefined> {
  const temporary = temporaryName(file);
  try {
    const handle = await open(temporary, "wx");
    const text = await handle
      .stat({ bigint: true })
      .then(({ ino }) => `${JSON.stringify({ ...mine, inode: String(ino) })}\n`);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return (await linked(temporary, file, text)) ? text : undefined;
  } catch (error) {
    // A folder that was empty may have been removed by the owner before; it is made again.
    if (codeOf(error) === "ENOENT" && (await isFolder(dirname(file))) === undefined) return undefined;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** True where `file` is now ours, false where it was there before. */
async function linked(temporary: string, file: string, text: string): Promise<boolean> {
  try {
    await link(temporary, file);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw error;
    // On a network the answer to a link that was made may get lost, and the question asked again.
    if (codeOf(error) === "EEXIST") return (await stat(temporary)).nlink === 2;
  }
  // Disks without links, as some sticks and shares.
  return writeFile(file, text, { flag: "wx" }).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === "EEXIST") return false;
      throw error;
    },
  );
}

interface Found {
  /** Undefined where the file is damaged, as by a power cut. */
  record?: Owned;
  inode: string;
  /** By the clock of the disk. */
  changed: number;
}

/** By opening it: what is known of a file's times may be old on a network's disk, but not once it is opened. */
async function read(file: string): Promise<Found | undefined> {
  const handle = await open(file, "r").catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (!handle) return undefined;
  try {
    const { mtimeMs, ino } = await handle.stat({ bigint: true });
    const text = await handle.readFile("utf8");
    return { record: recordOf(text), inode: String(ino), changed: Number(mtimeMs) };
  } finally {
    await handle.close();
  }
}

function recordOf(text: string): Owned | undefined {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Whether the owner that was found lives; "changed" where the file is gone or another's by now. */
async function lifeOf(
  file: string,
  { record, inode, changed }: Found,
  signal?: AbortSignal,
): Promise<"alive" | "dead" | "changed"> {
  if (record) {
    const state = stateOf(record);
    if (state === "ended") return "dead";
    // A copy differs in both; either alone may differ for one and the same file, seen from two places.
    if (state === "running") return record.path === file || record.inode === inode ? "alive" : "dead";
  }
  const silent = (await diskTime(file)) - changed;
  const started = performance.now();
  while (silent + performance.now() - started < silentMs) {
    await sleep(lookMs, undefined, { signal });
    const now = await read(file);
    if (!now || now.record?.id !== record?.id) return "changed";
    if (now.changed !== changed) return "alive";
  }
  return "dead";
}

/** What the clock of the disk says now: another machine's clock may be anywhere. */
async function diskTime(file: string): Promise<number> {
  const probe = temporaryName(file);
  try {
    await writeFile(probe, "");
    return (await stat(probe)).mtimeMs;
  } finally {
    await rm(probe, { force: true });
  }
}

/** The folders that have to be made for `folder`, the innermost first. */
async function missingFolders(folder: string): Promise<string[]> {
  const missing: string[] = [];
  for (let at = folder; (await isFolder(at)) === undefined && dirname(at) !== at; at = dirname(at)) missing.push(at);
  return missing;
}

async function removeEmpty(folders: readonly string[]): Promise<void> {
  for (const folder of folders)
    if (
      !(await rmdir(folder).then(
        () => true,
        () => false,
      ))
    )
      return;
}
