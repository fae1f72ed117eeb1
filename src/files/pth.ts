/** PyTorch checkpoints (`torch.save`: a zip with a pickle and raw storages), read without running any of their code.
 *  Knows nothing of models. */

import { open } from "node:fs/promises";
import { openPromise } from "yauzl";
import type { Entry, ZipFile } from "yauzl";
import { UserError } from "../core/errors.ts";
import { product } from "../core/arrays.ts";
import type { DType, HostTensor, TypedArray } from "../core/arrays.ts";
import { Namespace, PickleError, PickleGlobal, unpickle } from "./pickle.ts";
import { gather, isContiguous, spanOf, storageTypes } from "./torch-storage.ts";
import type { StorageType } from "./torch-storage.ts";

/** A tensor of a checkpoint whose values are still in the file. `dtype` is what `read` gives. */
export interface TensorRef {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface Checkpoint {
  path: string;
  /** dict, OrderedDict and argparse.Namespace are Maps, list and tuple arrays, tensors TensorRefs. */
  value: unknown;
  /** The tensor's values, row-major; half and bfloat16 become float32. Reads only its range of the file. */
  read: (ref: TensorRef) => Promise<HostTensor>;
  /** The same values in pieces of a few megabytes. */
  pieces: (ref: TensorRef) => AsyncGenerator<TypedArray>;
  close: () => Promise<void>;
}

interface Storage {
  entry: Entry;
  type: StorageType;
  elements: number;
}

class StoredTensor implements TensorRef {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly storage: Storage;
  readonly offset: number;
  readonly stride: readonly number[];
  constructor(storage: Storage, place: { offset: number; shape: number[]; stride: number[] }) {
    this.dtype = storage.type.dtype;
    this.shape = place.shape;
    this.storage = storage;
    this.offset = place.offset;
    this.stride = place.stride;
  }
}

export const isTensorRef = (value: unknown): value is TensorRef => value instanceof StoredTensor;

const maxPickleBytes = 64_000_000;
const damaged = "the file is damaged or incomplete, fetch it again";

/** Opens a checkpoint and reads its tree, no tensor values yet. Every fault of the file is a UserError; close it after use. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const zip = await openZip(path);
  try {
    const entries = new Map<string, Entry>();
    for await (const entry of zip.eachEntry()) entries.set(entry.fileName, entry);
    const pickle = [...entries.keys()].find((name) => /^([^/]+\/)?data\.pkl$/.test(name));
    if (pickle === undefined)
      throw new UserError(
        `${path}: a zip, but with no data.pkl inside; a checkpoint written by torch.save is expected`,
      );
    const folder = pickle.slice(0, -"data.pkl".length);
    await checkByteOrder(path, zip, entries.get(`${folder}byteorder`));
    const entry = entries.get(pickle)!;
    if (entry.uncompressedSize > maxPickleBytes)
      throw new UserError(
        `${path}: its data.pkl has ${entry.uncompressedSize} bytes, at most ${maxPickleBytes} are read; this is no checkpoint of a model`,
      );
    const bytes = await readEntry(zip, entry, { start: 0, length: entry.uncompressedSize });
    const value = unpickle(bytes, { resolve: allowedClass, persistent: (id) => storageOf(id, { folder, entries }) });
    return {
      path,
      value,
      read: (ref) => readTensor(path, zip, ref),
      pieces: (ref) => piecesOf(path, zip, ref),
      close: async () => zip.close(),
    };
  } catch (error) {
    zip.close();
    throw explained(path, error);
  }
}

/**
 * The state dict: under the key `model`, `model_ema` or `state_dict`, or the root itself where that holds tensors.
 * Names stay as they are; values that are no tensors are left out.
 */
export function modelTensors({ path, value }: Pick<Checkpoint, "path" | "value">): Map<string, TensorRef> {
  const root = value instanceof Map ? value : new Map();
  for (const candidate of [root.get("model"), root.get("model_ema"), root.get("state_dict"), root]) {
    if (!(candidate instanceof Map)) continue;
    const tensors = [...candidate].filter(
      (item): item is [string, TensorRef] => typeof item[0] === "string" && isTensorRef(item[1]),
    );
    if (tensors.length) return new Map(tensors);
  }
  const keys = root.size ? `its keys are ${[...root.keys()].slice(0, 8).map(printable).join(", ")}` : "it is no dict";
  throw new UserError(
    `${path}: no model weights found: expected tensors under "model", "model_ema" or "state_dict" or at the root, but ${keys}`,
  );
}

async function openZip(path: string): Promise<ZipFile> {
  const start = new Uint8Array(4);
  let length = 0;
  try {
    const handle = await open(path);
    try {
      length = (await handle.read(start, 0, 4, 0)).bytesRead;
    } finally {
      await handle.close();
    }
    if (start[0] === 0x50 && start[1] === 0x4b)
      return await openPromise(path, { autoClose: false, lazyEntries: true, validateEntrySizes: true });
  } catch (error) {
    throw explained(path, error);
  }
  if (length === 0) throw new UserError(`${path}: the file is empty; fetch it again`);
  // Before PyTorch 1.6 a checkpoint was a bare pickle (protocol 2) with the storages after it.
  if (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5)
    throw new UserError(
      `${path}: a checkpoint of the old PyTorch format (before 1.6), which is not read; load it with PyTorch and save it again with torch.save`,
    );
  throw new UserError(`${path}: no PyTorch checkpoint: a zip written by torch.save is expected; check the path`);
}

async function checkByteOrder(path: string, zip: ZipFile, entry: Entry | undefined): Promise<void> {
  const bytes = entry && (await readEntry(zip, entry, { start: 0, length: Math.min(16, entry.uncompressedSize) }));
  if (bytes && new TextDecoder().decode(bytes) === "big")
    throw new UserError(
      `${path}: written on a big-endian machine, which is not read; save it again on a usual machine`,
    );
}

const orderedDict = new PickleGlobal("collections.OrderedDict", ([items = []]) => {
  if (!Array.isArray(items) || !items.every((item) => Array.isArray(item) && item.length === 2))
    throw new PickleError(`its pickle has an OrderedDict that is no list of pairs; ${damaged}`);
  return new Map(items as [unknown, unknown][]);
});
const set = (name: string) => new PickleGlobal(name, ([items]) => new Set(Array.isArray(items) ? items : []));

/** All that a checkpoint may name. Nothing here does more than hold data. */
const classes: ReadonlyMap<string, PickleGlobal> = new Map(
  [
    orderedDict,
    set("builtins.set"),
    set("__builtin__.set"),
    new PickleGlobal("argparse.Namespace", () => new Namespace()),
    new PickleGlobal("torch.Size", ([sizes]) => (Array.isArray(sizes) ? [...sizes] : [])),
    new PickleGlobal("torch._utils._rebuild_tensor_v2", rebuildTensor),
    new PickleGlobal("torch._utils._rebuild_parameter", ([tensor]) => tensor),
    ...[...storageTypes.keys()].map(
      (name) =>
        new PickleGlobal(name, () => {
          throw new PickleError(`its pickle makes a ${name} of its own; ${damaged}`);
        }),
    ),
  ].map((item) => [item.name, item]),
);

function allowedClass(name: string): PickleGlobal {
  const found = classes.get(name);
  if (found) return found;
  throw new PickleError(
    `its pickle asks for the class ${printable(name)}, which is not one a checkpoint needs; the file was not opened further`,
  );
}

/** Storages that the pickle refers to; a class of its own, so that no list in a pickle can pass for one. */
class StorageRef {
  readonly storage: Storage;
  constructor(storage: Storage) {
    this.storage = storage;
  }
}

/** A persistent id is ("storage", type, key, device, elements); the values are the entry `data/key`. */
function storageOf(id: unknown, { folder, entries }: { folder: string; entries: Map<string, Entry> }): StorageRef {
  const [kind, global, key, , elements] = Array.isArray(id) ? id : [];
  const type = global instanceof PickleGlobal ? storageTypes.get(global.name) : undefined;
  if (kind !== "storage" || !type || typeof key !== "string" || !isSize(elements))
    throw new PickleError(`its pickle refers to a storage in a way that PyTorch does not; ${damaged}`);
  const entry = entries.get(`${folder}data/${key}`);
  if (!entry)
    throw new PickleError(`the tensor values in ${printable(`${folder}data/${key}`)} are missing; ${damaged}`);
  if (entry.uncompressedSize < elements * type.bytes)
    throw new PickleError(
      `the tensor values in ${entry.fileName} should have ${elements * type.bytes} bytes but have ${entry.uncompressedSize}; ${damaged}`,
    );
  return new StorageRef({ entry, type, elements });
}

function rebuildTensor([ref, offset, shape, stride]: readonly unknown[]): StoredTensor {
  if (
    !(ref instanceof StorageRef) ||
    !isSize(offset) ||
    !isSizes(shape) ||
    !isSizes(stride) ||
    shape.length !== stride.length
  )
    throw new PickleError(`its pickle describes a tensor in a way that PyTorch does not; ${damaged}`);
  const { storage } = ref;
  const place = `a tensor [${shape.join(", ")}] in ${storage.entry.fileName}`;
  if (offset + spanOf(shape, stride) > storage.elements)
    throw new PickleError(`${place} reaches past the ${storage.elements} values there; ${damaged}`);
  // An expanded tensor (stride 0) may be larger than what is stored, but not so large that reading it is an attack.
  if (product(shape) > Math.max(storage.elements, 1 << 24))
    throw new PickleError(`${place} repeats its ${storage.elements} values too often for a checkpoint; it is not read`);
  return new StoredTensor(storage, { offset, shape: [...shape], stride: [...stride] });
}

async function readTensor(path: string, zip: ZipFile, ref: TensorRef): Promise<HostTensor> {
  if (!(ref instanceof StoredTensor)) throw new Error("read: this is no tensor of a checkpoint");
  const { storage, offset, shape, stride, dtype } = ref;
  const { bytes, decode } = storage.type;
  try {
    const range = { start: offset * bytes, length: spanOf(shape, stride) * bytes };
    const values = decode(await readEntry(zip, storage.entry, range));
    return { dtype, shape, data: isContiguous(shape, stride) ? values : gather(values, { shape, stride }) };
  } catch (error) {
    throw explained(path, error);
  }
}

const pieceElements = 1 << 20;

/** Only a stored entry can be read from its middle; any other tensor is one piece. */
async function* piecesOf(path: string, zip: ZipFile, ref: TensorRef): AsyncGenerator<TypedArray> {
  if (!(ref instanceof StoredTensor)) throw new Error("pieces: this is no tensor of a checkpoint");
  const { storage, offset, shape, stride } = ref;
  const count = product(shape);
  const step = storage.entry.compressionMethod === 0 && isContiguous(shape, stride) ? pieceElements : count;
  if (count <= step) return yield (await readTensor(path, zip, ref)).data;
  for (let at = 0; at < count; at += step) {
    const place = { offset: offset + at, shape: [Math.min(step, count - at)], stride: [1] };
    yield (await readTensor(path, zip, new StoredTensor(storage, place))).data;
  }
}

/** `length` bytes of an entry from `start`; a stored entry (PyTorch's way) is read there, a deflated one from its start. */
async function readEntry(
  zip: ZipFile,
  entry: Entry,
  { start, length }: { start: number; length: number },
): Promise<Uint8Array<ArrayBuffer>> {
  if (length === 0) return new Uint8Array(0);
  const stored = entry.compressionMethod === 0;
  // Deflate shrinks at most 1032 times; a larger claim would only make us set aside memory.
  if (!stored && entry.uncompressedSize > 1032 * entry.compressedSize + 1024)
    throw new PickleError(`${entry.fileName} inside it claims more values than it can hold; ${damaged}`);
  const stream = await zip.openReadStreamPromise(entry, stored ? { start, end: start + length } : {});
  const bytes = new Uint8Array(length);
  let position = stored ? start : 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    const from = Math.max(0, start - position);
    const to = Math.min(chunk.length, start + length - position);
    if (from < to) bytes.set(chunk.subarray(from, to), position + from - start);
    position += chunk.length;
    if (position >= start + length) break;
  }
  if (position < start + length) throw new PickleError(`${entry.fileName} inside it ends early; ${damaged}`);
  return bytes;
}

/** What the zip reader, the pickle reader or the system said, as a sentence about the file. */
function explained(path: string, error: unknown): unknown {
  if (error instanceof UserError || !(error instanceof Error)) return error;
  if (error instanceof PickleError) return new UserError(`${path}: ${error.message}`, { cause: error });
  const code = "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "ENOTDIR") return new UserError(`${path}: there is no such file; check the path`);
  if (code === "EISDIR") return new UserError(`${path}: this is a folder, not a file; name the checkpoint itself`);
  if (code === "EACCES") return new UserError(`${path}: no permission to read it; change its permissions`);
  // Errors of yauzl and zlib; a fault of our own (TypeError, RangeError) keeps its stack.
  if (error.constructor !== Error) return error;
  return new UserError(`${path}: the zip is cut short or damaged (${printable(error.message)}); fetch it again`, {
    cause: error,
  });
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length <= 64 && value.every(isSize);

/** Text from the file, safe to show in a terminal. */
const printable = (value: unknown): string =>
  String(value)
    .replace(/[^\x20-\x7e]/g, "?")
    .slice(0, 100);
