/** What has come of a download so far: a folder with the bytes and what is known of them. Knows nothing of HTTP.
 *
 *  Only its owner may write into it, and the name says who that is: `FILE.partial` is nobody's, and a process owns what
 *  it has renamed to `FILE.partial.PID-ID@HOST`. Renaming is atomic, so of two processes that want it one gets it, and
 *  there is no lock that a killed process could leave behind: what is named after a process that is gone is free. */

import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { makeFolder, writeFileAtomic } from "./atomic.ts";

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

/** Who is writing at the moment. */
export interface Owner {
  pid: number;
  host: string;
}

/** An owner gives a sign of life, by writing, far more often than this. */
const silentMs = 600_000;

/** The partial file of `path`, begun before or new; or who has it. */
export async function claimPartial(path: string): Promise<PartialFile | { owner: Owner }> {
  await makeFolder(dirname(path));
  const abandoned: string[] = [];
  for (const { name, owner } of await owned(path)) {
    if (await isAlive(name, owner)) return { owner };
    abandoned.push(name);
  }
  const mine = `${path}.partial.${process.pid}-${randomBytes(4).toString("hex")}@${hostname()}`;
  let found = false;
  for (const name of [`${path}.partial`, ...abandoned]) {
    if (found) await rm(name, { recursive: true, force: true });
    else found = await renamed(name, mine);
  }
  if (!found) await mkdir(mine);
  const partial = await openPartial(path, mine);
  // Two that begin at the same moment each find nobody; what both would fetch is fetched once if they look again.
  const rival = (await owned(path)).find(({ name }) => name !== mine);
  if (!rival) return partial;
  await partial.release();
  return { owner: rival.owner };
}

async function openPartial(path: string, folder: string): Promise<PartialFile> {
  const [data, stateFile] = [join(folder, "data"), join(folder, "state.json")];
  const handle = await open(data, "r+").catch(() => open(data, "w+"));
  // A handle that is closed already closes again without complaint.
  const close = () => handle.close();
  const left = `${path}.partial`;
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
      // What another left here while this one was at work is of no use any more.
      for (const rest of [folder, left]) await rm(rest, { recursive: true, force: true });
      gone = true;
    },
    async release() {
      await close();
      if (gone) return;
      gone = true;
      if (partial.state === undefined) await rm(folder, { recursive: true, force: true });
      else if (!(await renamed(folder, left))) {
        // Two that began at the same moment have each been stopped: the later one's is as good.
        await rm(left, { recursive: true, force: true });
        await renamed(folder, left);
      }
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

async function owned(path: string): Promise<{ name: string; owner: Owner }[]> {
  const prefix = `${basename(path)}.partial.`;
  return (await readdir(dirname(path))).flatMap((name) => {
    const match = name.startsWith(prefix) ? /^(\d+)-[0-9a-f]{8}@(.*)$/.exec(name.slice(prefix.length)) : null;
    return match ? [{ name: join(dirname(path), name), owner: { pid: Number(match[1]), host: match[2] } }] : [];
  });
}

/** Process numbers tell nothing about another machine or container, and after a restart they are given out again. */
async function isAlive(folder: string, { pid, host }: Owner): Promise<boolean> {
  if (host === hostname() && !isRunning(pid)) return false;
  const changed = await Promise.all([folder, join(folder, "data")].map((path) => changedMs(path)));
  return Date.now() - Math.max(...changed) < silentMs;
}

const changedMs = (path: string): Promise<number> =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

const renamed = (from: string, to: string): Promise<boolean> =>
  rename(from, to).then(
    () => true,
    () => false,
  );
