/** What has come of a download so far: a folder, `FILE.partial`, with the bytes and what is known of them. Only its owner
 *  may write into it. Knows nothing of HTTP. */

import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "./atomic.ts";
import { makeFolder, syncFolder } from "./disk.ts";
import { claim, type Owner, type Ownership } from "./ownership.ts";

const stateSchema = z.strictObject({
  url: z.string(),
  /** Bytes of the whole file, where the server told. */
  total: z.int().nonnegative().optional(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
});

/** What the bytes are a part of; another answer of the server has to agree with it to be their continuation. */
export type PartialState = z.infer<typeof stateSchema>;

export interface PartialFile {
  /** The path of the bytes. */
  data: string;
  handle: FileHandle;
  /** Undefined where nothing that can be gone on with is there; the bytes are then of no use. */
  state: PartialState | undefined;
  /** Throws the bytes away and notes what the next ones are a part of, if anything. */
  restart(state?: PartialState): Promise<void>;
  /** Puts the bytes where they belong and ends the partial file. */
  moveTo(path: string): Promise<void>;
  /** Leaves the bytes to whoever wants to go on; nothing more may be written. Safe to call after `moveTo`. */
  release(): Promise<void>;
}

/** The partial file of `path`, begun before or new; or who has it. */
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
  // A handle that is closed already closes again without complaint.
  const close = () => handle.close();
  let gone = false;
  const partial: PartialFile = {
    data,
    handle,
    state: await readState(stateFile),
    async restart(state) {
      // In this order: bytes never stand beside a state that is not theirs.
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
    return undefined; // missing, or cut off by a kill
  }
}
