/**
 * Weights in a PyTorch file of either format, by name: the zip of torch.save since 1.6, and what stood before it, in
 * which the Inception weights of 2019 are published. Knows nothing of networks.
 *
 * The old format is pickles one after another, a number that marks it, its version, facts about the machine, the state dict,
 * and the keys of the storages; then for each key, in that order, the count (int64) and the values.
 */

import { type FileHandle, open } from "node:fs/promises";
import type { DType, HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { PickleError, PickleGlobal, unpickle } from "./pickle.ts";
import { modelTensors, openCheckpoint } from "./pth.ts";
import { gather, isContiguous, spanOf, type StorageType, storageTypes } from "./torch-storage.ts";

export interface TorchWeights {
  tensors: ReadonlyMap<string, { dtype: DType; shape: readonly number[] }>;
  read: (name: string) => Promise<HostTensor>;
  close: () => Promise<void>;
}

/** What every file of the old format begins with: the pickles of the number 0x1950a86a20f9469cfc6c and of the version 1001. */
export const oldStart = Buffer.from("80028a0a6cfc9c46f9206aa850192e80024de9032e", "hex");

/** Opens either format and reads what tensors there are. Every fault of the file is a UserError; close it after use. */
export async function openTorchWeights(path: string): Promise<TorchWeights> {
  const handle = await open(path).catch(() => undefined); // openCheckpoint says what is wrong
  const start = await handle?.read(Buffer.alloc(oldStart.length), 0, oldStart.length, 0).catch(() => undefined);
  if (handle && start?.buffer.equals(oldStart)) {
    try {
      return await openOld(path, handle);
    } catch (error) {
      await handle.close();
      throw error instanceof PickleError ? new UserError(`${path}: ${error.message}`, { cause: error }) : error;
    }
  }
  await handle?.close();
  const checkpoint = await openCheckpoint(path);
  try {
    const tensors = modelTensors(checkpoint);
    return { tensors, read: (name) => checkpoint.read(tensors.get(name)!), close: checkpoint.close };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

class Storage {
  readonly key: string;
  readonly type: StorageType;
  readonly elements: number;
  constructor(key: string, type: StorageType, elements: number) {
    this.key = key;
    this.type = type;
    this.elements = elements;
  }
}

class Stored {
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  readonly dtype: DType;
  constructor(storage: Storage, { offset, shape, stride }: Pick<Stored, "offset" | "shape" | "stride">) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.stride = stride;
    this.dtype = storage.type.dtype;
  }
}

/** All pickles together; a state dict takes about 200 bytes a tensor. */
const mostPickled = 4_000_000;
const damaged = new PickleError(
  "its pickles are not those of a state dict of PyTorch; the file is damaged, fetch it again",
);

async function openOld(path: string, handle: FileHandle): Promise<TorchWeights> {
  const { size } = await handle.stat();
  const head = Buffer.alloc(Math.min(size, mostPickled));
  await handle.read(head, 0, head.length, 0);
  const storages = new Map<string, Storage>();
  const persistent = (id: unknown): Storage => {
    const [kind, global, key, , elements] = Array.isArray(id) ? id : [];
    const type = global instanceof PickleGlobal ? storageTypes.get(global.name) : undefined;
    if (kind !== "storage" || !type || typeof key !== "string" || !isSize(elements)) throw damaged;
    const known = storages.get(key) ?? new Storage(key, type, elements);
    storages.set(key, known);
    return known;
  };
  // A pickle reads itself to its end; the next begins where one ends and the two bytes of a beginning follow.
  const next = (from: number): Buffer => {
    const at = head.indexOf(Buffer.from("2e8002", "hex"), from);
    if (at < 0) throw damaged;
    return head.subarray(at + 1);
  };
  const pickledState = next(oldStart.length);
  const state = unpickle(pickledState, { resolve: allowed, persistent });
  const keys = unpickle(next(head.length - pickledState.length), { resolve: allowed, persistent });
  if (!(state instanceof Map) || !Array.isArray(keys)) throw damaged;
  if (keys.length !== storages.size || !keys.every((key) => storages.has(key))) throw damaged;
  const tensors = new Map(
    [...state].filter((item): item is [string, Stored] => typeof item[0] === "string" && item[1] instanceof Stored),
  );

  const places = new Map<string, number>();
  const bytesOf = (key: string) => 8 + storages.get(key)!.elements * storages.get(key)!.type.bytes;
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
      const { storage, offset, shape, stride, dtype } = tensors.get(name)!;
      const place = places.get(storage.key)!;
      if (place < 0) throw cutShort(path);
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
    `${path}: its tensors' values are not where they should be; the file is cut short or damaged, fetch it again`,
  );

const classes: readonly PickleGlobal[] = [
  new PickleGlobal("collections.OrderedDict", ([items = []]) => {
    if (!Array.isArray(items) || !items.every((item) => Array.isArray(item) && item.length === 2)) throw damaged;
    return new Map(items as [unknown, unknown][]);
  }),
  new PickleGlobal("torch._utils._rebuild_tensor_v2", ([storage, offset, shape, stride]) => {
    if (!(storage instanceof Storage) || !isSize(offset) || !isSizes(shape) || !isSizes(stride)) throw damaged;
    if (shape.length !== stride.length || offset + spanOf(shape, stride) > storage.elements) throw damaged;
    if (shape.reduce((a, b) => a * b, 1) > storage.elements) throw damaged;
    return new Stored(storage, { offset, shape: [...shape], stride: [...stride] });
  }),
  new PickleGlobal("torch._utils._rebuild_parameter", ([tensor]) => tensor),
  ...[...storageTypes.keys()].map(
    (name) =>
      new PickleGlobal(name, () => {
        throw damaged;
      }),
  ),
];

function allowed(name: string): PickleGlobal {
  const found = classes.find((one) => one.name === name);
  if (found) return found;
  const printed = name.replace(/[^\x20-\x7e]/g, "?").slice(0, 100);
  throw new PickleError(`its pickle asks for the class ${printed}, which weights do not need; it was not read further`);
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length <= 64 && value.every(isSize);
