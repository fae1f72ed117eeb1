/**
 * The folder that all machines share. Files in it are named by their SHA-256, which is checked at every read:
 *
 *   objects/HASH      models, data sets and feature networks, kept for later commands
 *   areas/AREA/HASH   inputs and results of jobs, removed with their area
 *
 * A machine copies objects into its own cache once.
 */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import { codeOf, explained, isFolder, makeFolder, syncFile, syncFolder } from "../files/disk.ts";
import { changedMs, temporaryName } from "../files/temporary.ts";

/** Bytes transferred through the shared folder. */
export interface Traffic {
  read: number;
  written: number;
}

/** The shared folder as one process uses it. */
export interface Store {
  folder: string;
  /** Bytes that this process has read and written so far. */
  traffic: Traffic;
  /** Adds a file to the objects, unless it exists there. Returns its hash. */
  addFile(path: string, options?: { signal?: AbortSignal }): Promise<string>;
  /** Writes bytes into an area. Returns their hash. */
  put(area: string, bytes: Uint8Array): Promise<string>;
  /** Whether an area has these bytes. */
  has(area: string, hash: string): boolean;
  /** Reads bytes of an area. */
  get(area: string, hash: string): Promise<Uint8Array<ArrayBuffer>>;
  /** A path in this machine's cache with an object's bytes, under the given name in a folder of the given name. */
  cached(hash: string, at: { folder: string; name: string }, options?: { signal?: AbortSignal }): Promise<string>;
  /** Stores a small result under a name, for `recall`. */
  remember(area: string, name: string, value: object): Promise<void>;
  recall<T>(area: string, name: string): Promise<T | undefined>;
  /** Removes files of an area: all of them, or all except some. */
  clear(area: string, options?: { except?: ReadonlySet<string> }): Promise<void>;
  /** Writes a small file into both folders and removes it. Throws a UserError if one cannot be written to. */
  probe(): Promise<void>;
  /**
   * Removes what killed commands left more than a day ago: areas named `run-…` whose command no longer runs, and files that
   * were never completed.
   */
  sweep(isRunning: (run: string) => Promise<boolean>): Promise<void>;
}

const dayMs = 86_400_000;
/** Node can neither hash nor read 2 GB in one call. */
const pieceBytes = 1 << 28;

function hashOf(bytes: Uint8Array): string {
  const hash = createHash("sha256");
  for (let at = 0; at < bytes.length; at += pieceBytes) hash.update(bytes.subarray(at, at + pieceBytes));
  return hash.digest("hex");
}

/** A whole file. */
async function bytesAt(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(path, "r");
  try {
    const bytes = new Uint8Array((await file.stat()).size);
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await file.read(bytes, at, Math.min(pieceBytes, bytes.length - at), at);
      if (bytesRead === 0) break; // a truncated file; its hash will not match
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** Opens the shared folder, which must exist. `cache` is a folder of this machine; without one, objects are used in place. */
export async function openStore(folder: string, { cache }: { cache?: string }): Promise<Store> {
  if (!(await isFolder(folder)))
    throw new UserError({
      subject: { setting: "shared" },
      expected: "a folder that all machines share",
      got: `${folder}, which does not exist`,
      hint: "mount or create it",
    });
  const traffic: Traffic = { read: 0, written: 0 };
  const objectAt = (hash: string) => join(folder, "objects", hash);
  const areaAt = (area: string) => join(folder, "areas", ...area.split("/"));
  /** Files of the cache that this process has checked. */
  const checked = new Set<string>();

  async function copied(from: string, to: string): Promise<number> {
    const temporary = temporaryName(to);
    try {
      await makeFolder(dirname(to));
      await copyFile(from, temporary);
      await syncFile(temporary);
      await rename(temporary, to);
      await syncFolder(dirname(to));
      return (await stat(to)).size;
    } catch (error) {
      await rm(temporary, { force: true });
      throw explained(error, { path: to });
    }
  }

  return {
    folder,
    traffic,
    async addFile(path, options) {
      const hash = await checksum(path, options);
      const there = await stat(objectAt(hash)).catch(() => undefined);
      if (there?.size !== (await stat(path)).size) traffic.written += await copied(path, objectAt(hash));
      return hash;
    },
    async put(area, bytes) {
      const hash = hashOf(bytes);
      await writeFileAtomic(join(areaAt(area), hash), bytes);
      traffic.written += bytes.length;
      return hash;
    },
    has: (area, hash) => existsSync(join(areaAt(area), hash)),
    async get(area, hash) {
      const path = join(areaAt(area), hash);
      const bytes = await bytesAt(path).catch((error: unknown) => {
        throw codeOf(error) === "ENOENT" ? missing(path) : explained(error, { path });
      });
      if (hashOf(bytes) !== hash) throw damaged(path);
      traffic.read += bytes.length;
      return bytes;
    },
    async cached(hash, at, options) {
      if (cache === undefined) return objectAt(hash);
      const path = join(cache, at.folder, at.name);
      if (checked.has(path)) return path;
      const there = existsSync(path) && (await checksum(path, options)) === hash;
      if (!there) {
        if (!existsSync(objectAt(hash))) throw missing(objectAt(hash));
        traffic.read += await copied(objectAt(hash), path);
        if ((await checksum(path, options)) !== hash) {
          await rm(path, { force: true });
          // Commands add it again only if it is gone.
          if ((await checksum(objectAt(hash), options)) !== hash) await rm(objectAt(hash), { force: true });
          throw damaged(objectAt(hash));
        }
      }
      checked.add(path);
      return path;
    },
    async remember(area, name, value) {
      await writeFileAtomic(join(areaAt(area), name), JSON.stringify(value));
    },
    async recall<T>(area: string, name: string) {
      const text = await readFile(join(areaAt(area), name), "utf8").catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as T);
    },
    async clear(area, { except } = {}) {
      if (!except) {
        await rm(areaAt(area), { recursive: true, force: true });
        return;
      }
      for (const name of await readdir(areaAt(area)).catch(() => []))
        if (!except.has(name)) await rm(join(areaAt(area), name), { recursive: true, force: true });
    },
    async probe() {
      for (const path of [folder, ...(cache === undefined ? [] : [cache])]) {
        const probe = join(path, `.probe-${basename(temporaryName("now"))}`);
        await writeFileAtomic(probe, "probe");
        await rm(probe, { force: true });
      }
    },
    async sweep(isRunning) {
      // Uses the disk's clock, since this machine's may differ.
      const probe = join(folder, "areas", `.clock-${basename(temporaryName("now"))}`);
      await writeFileAtomic(probe, "");
      const now = (await stat(probe)).mtimeMs;
      await rm(probe, { force: true });
      for (const place of ["areas", "objects"])
        for (const name of await readdir(join(folder, place)).catch(() => [])) {
          const path = join(folder, place, name);
          const changed = await changedMs(path);
          if (changed === undefined || now - changed <= dayMs) continue;
          const isStray = name.startsWith(".") && name.endsWith(".partial");
          if (isStray || (name.startsWith("run-") && !(await isRunning(name))))
            await rm(path, { recursive: true, force: true });
        }
    },
  };
}

const missing = (path: string) =>
  new UserError({
    problem: `${path} is missing`,
    hint: [
      { do: "give every worker and every command the same shared folder", setting: "shared" },
      "run the command again if it was damaged and removed",
    ],
  });
const damaged = (path: string) =>
  new UserError({ problem: `${path} does not have the SHA-256 in its name`, hint: "the disk is damaged" });
