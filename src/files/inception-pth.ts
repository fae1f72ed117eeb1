/**
 * Reads weights by name from a PyTorch file of either format: the zip of torch.save since 1.6, and the format before
 * it, in which the Inception weights of 2019 are published. Knows nothing of networks.
 *
 * The old format is a sequence of pickles: a magic number, its version, facts about the machine, the state dict, and
 * the keys of the storages. Then follow, for each key in that order, the count (int64) and the values.
 */

import type { FileHandle } from "node:fs/promises";
import type { DType, HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { Opaque, PickleError, unpickle } from "./pickle.ts";
import { openRegular, pathText } from "./regular.ts";
import { modelTensors } from "./state-dict.ts";
import { spansTooMuch, storageOf, StorageRef, TorchTensor, torchClass } from "./torch-classes.ts";
import { gather, isContiguous, spanOf } from "./torch-storage.ts";

export interface TorchWeights {
  tensors: ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>;
  read: (name: string) => Promise<HostTensor>;
  close: () => Promise<void>;
}

/**
 * The first bytes of every file in the old format: the pickles of the number 0x1950a86a20f9469cfc6c and the version
 * 1001.
 */
export const oldStart = Buffer.from("80028a0a6cfc9c46f9206aa850192e80024de9032e", "hex");

/** Opens either format and lists its tensors. Throws a UserError for any fault of the file. Close it after use. */
export async function openTorchWeights(path: string): Promise<TorchWeights> {
  const handle = await openRegular(path);
  try {
    const start = await handle.read(Buffer.alloc(oldStart.length), 0, oldStart.length, 0);
    if (start.buffer.equals(oldStart)) return await openOld(path, handle);
  } catch (error) {
    await handle.close();
    throw error instanceof PickleError ? new UserError(`${pathText(path)}: ${error.message}`, { cause: error }) : error;
  }
  await handle.close();
  const checkpoint = await openCheckpoint(path);
  try {
    const tensors = modelTensors(checkpoint);
    return { tensors, read: (name) => checkpoint.read(tensors.get(name)!), close: checkpoint.close };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** The most bytes for all pickles together; a state dict takes about 200 bytes per tensor. */
const mostPickled = 4_000_000;
const damaged = new PickleError(
  "its pickles do not hold a PyTorch state dict; the file is damaged, so download it again",
);

async function openOld(path: string, handle: FileHandle): Promise<TorchWeights> {
  const { size } = await handle.stat();
  const head = Buffer.alloc(Math.min(size, mostPickled));
  await handle.read(head, 0, head.length, 0);
  /** Sizes by storage key. */
  const storages = new Map<string, { elements: number; bytes: number }>();
  const persistent = (id: unknown) => {
    const found = storageOf(id, (key) => key);
    if (found instanceof StorageRef) {
      const { place, elements, type } = found.storage;
      storages.set(place, { elements, bytes: elements * type.bytes });
    }
    return found;
  };
  // A pickle marks its own end. The next one begins where an end is followed by the two bytes of a beginning.
  const next = (from: number): Buffer => {
    const at = head.indexOf(Buffer.from("2e8002", "hex"), from);
    if (at < 0) throw damaged;
    return head.subarray(at + 1);
  };
  const pickledState = next(oldStart.length);
  const state = unpickle(pickledState, { resolve: torchClass, persistent });
  const keys = unpickle(next(head.length - pickledState.length), { resolve: torchClass, persistent });
  if (!(state instanceof Map) || !Array.isArray(keys)) throw damaged;
  if (keys.length !== storages.size || !keys.every((key) => storages.has(key))) throw damaged;
  const tensors = new Map(
    [...state].filter(
      (item): item is [string, TorchTensor<string>] => typeof item[0] === "string" && item[1] instanceof TorchTensor,
    ),
  );

  for (const [name, value] of state)
    if (value instanceof Opaque)
      throw new UserError(
        `${pathText(path)}: ${shown(name)} is an object of the class ${value.name}, which cannot be read; expected a tensor`,
      );

  const places = new Map<string, number>();
  const bytesOf = (key: string) => 8 + storages.get(key)!.bytes;
  let at = size - keys.reduce((sum: number, key) => sum + bytesOf(key), 0);
  for (const key of keys) {
    places.set(key, at);
    at += bytesOf(key);
  }
  const bytesAt = async (position: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
    const bytes = new Uint8Array(length);
    const { bytesRead } = await handle.read(bytes, 0, length, position);
    if (position < 0 || bytesRead < length) throw cutShort(path);
    return bytes;
  };
  return {
    tensors,
    async read(name) {
      const tensor = tensors.get(name)!;
      const { storage, offset, shape, stride, dtype } = tensor;
      const place = places.get(storage.place)!;
      if (place < 0 || spansTooMuch(tensor)) throw cutShort(path);
      const count = new BigInt64Array((await bytesAt(place, 8)).buffer)[0];
      if (count !== BigInt(storage.elements)) throw cutShort(path);
      const { bytes, decode } = storage.type;
      const values = decode(await bytesAt(place + 8 + offset * bytes, spanOf(shape, stride) * bytes));
      return { dtype, shape, data: isContiguous(shape, stride) ? values : gather(values, { shape, stride }) };
    },
    close: () => handle.close(),
  };
}

const cutShort = (path: string) =>
  new UserError(
    `${pathText(path)}: its tensor values are not where they should be; the file is truncated or damaged, so download it again`,
  );
