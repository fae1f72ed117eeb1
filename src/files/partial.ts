/** An unfinished download: a folder, `FILE.partial`, with the bytes received so far and a description of their source.
 *  Only its owner may write to it. Knows nothing of HTTP. */

import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "./atomic.ts";
import { makeFolder, syncFolder } from "./disk.ts";
import { claim, type Owner, type Ownership } from "./ownership.ts";

const stateSchema = z.strictObject({
  url: z.string(),
  /** Size of the whole file in bytes, if the server reported it. */
  total: z.int().nonnegative().optional(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
});

/** The file that the bytes belong to; a later answer must agree with it to be accepted as their continuation. */
export type PartialState = z.infer<typeof stateSchema>;

export interface PartialFile {
  /** The path of the bytes. */
  data: string;
  handle: FileHandle;
  /** Undefined if nothing can be resumed; the bytes are then useless. */
  state: PartialState | undefined;
  /** Discards the bytes and records which file the next ones belong to, if any. */
  restart(state?: PartialState): Promise<void>;
  /** Moves the bytes to `path` and removes the partial file. */
  moveTo(path: string): Promise<void>;
  /** Gives up ownership and keeps the bytes for a later download. Safe to call after `moveTo`. */
  release(): Promise<void>;
}

/** Opens the partial file of `path`, existing or new; if another process owns it, returns its owner. */
export async function claimPartial(
  path: string,
  options: { signal?: AbortSignal } = {},
): Promise<PartialFile | { owner: Owner }> {
  const folder = `${path}.partial`;
  const claimed = await claim(folder, options);
  if ("owner" in claimed) return claimed;
  try {
    await makeFolder(folder);
    return await openPartial(folder, claimed);
  } catch (error) {
    await claimed.release();
    throw error;
  }
}

async function openPartial(folder: string, ownership: Ownership): Promise<PartialFile> {
  const [data, stateFile] = [join(folder, "data"), join(folder, "state.json")];
  const handle = await open(data, "r+").catch(() => open(data, "w+"));
  // Closing a handle twice is harmless.
  const close = () => handle.close();
  let gone = false;
  const partial: PartialFile = {
    data,
    handle,
    state: await readState(stateFile),
    async restart(state) {
      // In this order, the stored bytes never carry the state of another file.
      await handle.truncate(0);
      await rm(stateFile, { force: true });
      if (state) await writeFileAtomic(stateFile, `${JSON.stringify(state)}\n`);
      partial.state = state;
    },
    async moveTo(to) {
      await close();
      await rename(data, to);
      await syncFolder(dirname(to));
      await rm(folder, { recursive: true, force: true });
      gone = true;
      await ownership.release();
    },
    async release() {
      await close();
      if (!gone && partial.state === undefined) await rm(folder, { recursive: true, force: true });
      gone = true;
      await ownership.release();
    },
  };
  return partial;
}

async function readState(path: string): Promise<PartialState | undefined> {
  try {
    return stateSchema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined; // missing, or truncated by a kill
  }
}
