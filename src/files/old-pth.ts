/**
 * PyTorch checkpoints as torch.save wrote them before PyTorch 1.6, and still does when told to. Knows nothing of models.
 *
 * Such a file is a sequence of pickles: a magic number, a version, facts about the machine, the saved value, and the
 * keys of its storages. Then, for each key in that order, come the number of values (int64) and the values.
 */

import type { FileHandle } from "node:fs/promises";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { PickleError, unpickle } from "./pickle.ts";
import { openRegular, pathText } from "./regular.ts";
import type { Checkpoint } from "./tensors.ts";
import { damaged, storageOf, StorageRef, torchClass } from "./torch-classes.ts";
import { tensorReader } from "./torch-tensors.ts";

/** The number 0x1950a86a20f9469cfc6c as every protocol from 2 on pickles it, near the start of the file. */
const magic = Buffer.from("8a0a6cfc9c46f9206aa85019", "hex");
export const oldStartBytes = 32;

export const isOldStart = (start: Buffer): boolean =>
  start[0] === 0x80 && start.subarray(0, oldStartBytes).includes(magic);

/**
 * Opens a checkpoint and reads its structure, but no tensor values. Throws a UserError for any fault of the file. Close
 * the checkpoint after use.
 */
export async function openOldCheckpoint(path: string): Promise<Checkpoint> {
  const handle = await openRegular(path);
  try {
    return await opened(path, handle);
  } catch (error) {
    await handle.close();
    throw error instanceof PickleError
      ? new UserError({ subject: pathText(path), problem: error.message }, { cause: error })
      : error;
  }
}

async function opened(path: string, handle: FileHandle): Promise<Checkpoint> {
  const { size } = await handle.stat();
  const head = Buffer.alloc(Math.min(size, limits.pickleBytes));
  await handle.read(head, 0, head.length, 0);
  /** Sizes by storage key. */
  const storages = new Map<string, { elements: number; bytes: number }>();
  const persistent = (id: unknown) => {
    const found = storageOf(id, (key) => key);
    if (found instanceof StorageRef) {
      const { place, elements, type } = found.storage;
      const before = storages.get(place);
      if (before && before.bytes !== elements * type.bytes)
        throw new PickleError(`its pickle gives one storage two sizes; ${damaged}`);
      storages.set(place, { elements, bytes: elements * type.bytes });
    }
    return found;
  };
  let end = 0;
  const next = () => {
    const start = end;
    return unpickle(head.subarray(start), { resolve: torchClass, persistent, ended: (at) => (end = start + at) });
  };
  const [, version, machine] = [next(), next(), next()];
  if (version !== 1001) throw new PickleError(`it has an unknown version; ${damaged}`);
  if (machine instanceof Map && machine.get("little_endian") === false)
    throw new UserError({
      subject: pathText(path),
      problem: "written on a big-endian machine, which is not supported",
      hint: "save it again on a little-endian machine",
    });
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw new PickleError(`its pickles do not end with a list of storages; ${damaged}`);

  const places = new Map<string, number>();
  for (const key of keys) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    // Storages of unknown types have unknown sizes, so nothing after them can be found.
    if (!storage) break;
    places.set(key, end);
    end += 8 + storage.bytes;
  }
  const cutShort = () =>
    new UserError({
      subject: pathText(path),
      problem: "its tensor values are not where they should be",
      hint: "the file is truncated or damaged, so download it again",
    });
  if (end > size) throw cutShort();
  const bytesAt = async (position: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
    if (position + length > size) throw cutShort();
    const bytes = new Uint8Array(length);
    const { bytesRead } = await handle.read(bytes, 0, length, position);
    if (bytesRead < length) throw cutShort();
    return bytes;
  };
  const checked = new Set<string>();
  const reader = tensorReader<string>(path, {
    inPieces: () => true,
    async read(key, { start, length }) {
      const place = places.get(key);
      if (place === undefined) throw cutShort();
      if (!checked.has(key)) {
        const count = new BigInt64Array((await bytesAt(place, 8)).buffer)[0];
        if (count !== BigInt(storages.get(key)!.elements)) throw cutShort();
        checked.add(key);
      }
      return bytesAt(place + 8 + start, length);
    },
  });
  return { path, value, ...reader, close: () => handle.close() };
}
