/**
 * Ensures a single writer for everything that takes time to write: runs, converted folders, saved images, downloads.
 *
 * An owner keeps a file, `.owner` in the folder or `.NAME.owner` next to its target, that identifies its process.
 * Nobody has to remove it after a kill: whether a process on this machine is still running can be checked directly.
 * Processes on another machine that shares the disk, or in another container, update the file as a heartbeat and count
 * as dead after a minute without one. Only the disk's clock is used to compare times. Knows nothing of what is written.
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

/** An owner on another machine or in another container counts as dead after this long without a heartbeat. */
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
  /** The file's own path, so that a copy of a folder in use counts as unowned. */
  path: z.string(),
  inode: z.string(),
});

type Owned = z.infer<typeof recordSchema>;

/** The writing process: its ID, its host and its start of ownership. */
export interface Owner {
  pid: number;
  host: string;
  since: string;
}

/** An exclusive claim to write to a path, held until it is released. */
export interface Ownership {
  /** The previous owner, if it ended without releasing its claim; its unfinished files can be removed. */
  previous?: Owner;
  /** Throws a UserError if another process has taken over, for example while this one was suspended. */
  check(): Promise<void>;
  /** Releases the claim and removes empty folders that were created for it. Safe to call twice. */
  release(): Promise<void>;
}

interface ClaimOptions {
  /** Put the owner file inside the folder `path` (created if missing) instead of next to it. */
  inside?: boolean;
  signal?: AbortSignal;
}

/** Makes this process the owner of `path`. Throws a UserError that names the current owner, if there is one. */
export async function own(path: string, options: ClaimOptions = {}): Promise<Ownership> {
  const claimed = await claim(path, options);
  if ("owner" in claimed)
    throw new UserError({
      problem: `${path} is in use by ${described(claimed.owner)}`,
      hint: "wait until it finishes, or choose another name",
    });
  return claimed;
}

/**
 * Makes this process the owner of `path`, or returns the current owner. Checking a remote owner takes seconds or more.
 */
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

/** Creates the owner file, or returns the owner that an existing one names. */
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
 * Removes a dead owner's file. Processes that found it dead take turns to check again and remove it; otherwise a slow
 * one could remove the next owner's file. The right to do so is itself claimed with an owner file, so a kill here is
 * safe.
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

/** Removes leftover files of the rights to remove earlier owners, left by killed processes. */
async function removeRights(file: string): Promise<void> {
  for (const name of await readdir(dirname(file)))
    if (name.startsWith(`${basename(file)}-`)) await rm(join(dirname(file), name), { force: true });
}

/** The name of the owner file for a target of this name. */
export const ownerName = (name: string): string => `.${name}.owner`;

/** Describes an owner for a message. */
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
      throw new UserError({
        problem: `${path} was ${who} while this process was suspended; this process has stopped writing to it`,
      });
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

/** Creates the owner file atomically and returns its text; returns undefined if the file exists. */
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
    // The previous owner may have removed the folder because it was empty; the caller creates it again.
    if (codeOf(error) === "ENOENT" && (await isFolder(dirname(file))) === undefined) return undefined;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** True if `file` is now ours, false if it already existed. */
async function linked(temporary: string, file: string, text: string): Promise<boolean> {
  try {
    await link(temporary, file);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw error;
    // On a network file system the reply to a successful link may be lost and the request repeated.
    if (codeOf(error) === "EEXIST") return (await stat(temporary)).nlink === 2;
  }
  // Some removable disks and network shares do not support links.
  return writeFile(file, text, { flag: "wx" }).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === "EEXIST") return false;
      throw error;
    },
  );
}

interface Found {
  /** Undefined if the file is damaged, for example by a power failure. */
  record?: Owned;
  inode: string;
  /** Modification time by the disk's clock, in milliseconds. */
  changed: number;
}

/** Opens the file first: a network file system may report stale times for a file that is not open. */
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

/** Whether the owner is alive; "changed" if the file has been removed or has a new owner. */
async function lifeOf(
  file: string,
  { record, inode, changed }: Found,
  signal?: AbortSignal,
): Promise<"alive" | "dead" | "changed"> {
  if (record) {
    const state = stateOf(record);
    if (state === "ended") return "dead";
    // A copy differs in both. The same file reached by two routes may differ in one of them.
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

/** The current time by the disk's clock; the clocks of other machines may be off. */
async function diskTime(file: string): Promise<number> {
  const probe = temporaryName(file);
  try {
    await writeFile(probe, "");
    return (await stat(probe)).mtimeMs;
  } finally {
    await rm(probe, { force: true });
  }
}

/** The folders that must be created for `folder`, innermost first. */
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
