/** PyTorch checkpoints (`torch.save`: a zip with a pickle and raw storages), read without running any of their code.
 *  Knows nothing of models. */

import type { Entry } from "yauzl";
import { product } from "../core/arrays.ts";
import type { HostTensor, TypedArray } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { PickleError, unpickle } from "./pickle.ts";
import { firstBytes, pathText } from "./regular.ts";
import { type Checkpoint, pieceElements, type TensorRef } from "./tensors.ts";
import { damaged, spansTooMuch, storageOf, StoredTensor, torchClass } from "./torch-classes.ts";
import { gather, isContiguous, spanOf } from "./torch-storage.ts";
import { openZip, type ZipArchive } from "./zip.ts";

type Tensor = StoredTensor<Entry>;

/** Opens a checkpoint and reads its tree, no tensor values yet. Every fault of the file is a UserError; close it after use. */
export async function openTorchCheckpoint(path: string): Promise<Checkpoint> {
  checkStart(path, await firstBytes(path, 4));
  const zip = await openZip(path);
  try {
    const pickle = [...zip.entries.keys()].find((name) => /^([^/]+\/)?data\.pkl$/.test(name));
    if (pickle === undefined)
      throw new UserError(
        `${pathText(path)}: a zip, but with no data.pkl inside; a checkpoint written by torch.save is expected`,
      );
    const folder = pickle.slice(0, -"data.pkl".length);
    await checkByteOrder(zip, zip.entries.get(`${folder}byteorder`));
    const entry = zip.entries.get(pickle)!;
    if (entry.uncompressedSize > limits.pickleBytes)
      throw new UserError(
        `${pathText(path)}: its data.pkl has ${byteCount(entry.uncompressedSize)}, at most ${byteCount(limits.pickleBytes)} are read; this is no checkpoint of a model`,
      );
    const bytes = await zip.read(entry, { start: 0, length: entry.uncompressedSize });
    const value = unpickle(bytes, { resolve: torchClass, persistent: (id) => storageOf(id, finder(zip, folder)) });
    return {
      path,
      value,
      read: (ref) => readTensor(zip, ref),
      pieces: (ref) => piecesOf(zip, ref),
      close: async () => zip.close(),
    };
  } catch (error) {
    zip.close();
    throw error instanceof PickleError ? new UserError(`${pathText(path)}: ${error.message}`, { cause: error }) : error;
  }
}

function checkStart(path: string, start: Buffer): void {
  if (start[0] === 0x50 && start[1] === 0x4b) return;
  if (start.length === 0) throw new UserError(`${pathText(path)}: the file is empty; fetch it again`);
  // Before PyTorch 1.6 a checkpoint was a bare pickle (protocol 2) with the storages after it.
  if (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5)
    throw new UserError(
      `${pathText(path)}: a checkpoint of the old PyTorch format (before 1.6), which is not read; load it with PyTorch and save it again with torch.save`,
    );
  throw new UserError(
    `${pathText(path)}: no checkpoint: a zip written by torch.save, or a safetensors file, is expected; check the path`,
  );
}

async function checkByteOrder(zip: ZipArchive, entry: Entry | undefined): Promise<void> {
  const bytes = entry && (await zip.read(entry, { start: 0, length: Math.min(16, entry.uncompressedSize) }));
  if (bytes && new TextDecoder().decode(bytes) === "big")
    throw new UserError(
      `${pathText(zip.path)}: written on a big-endian machine, which is not read; save it again on a usual machine`,
    );
}

/** A storage's values are the entry `data/key`. */
const finder =
  ({ entries }: ZipArchive, folder: string) =>
  (key: string, bytes: number): Entry => {
    const name = `${folder}data/${key}`;
    const entry = entries.get(name);
    if (!entry) throw new PickleError(`the tensor values in ${shown(name)} are missing; ${damaged}`);
    if (entry.uncompressedSize < bytes)
      throw new PickleError(
        `the tensor values in ${shown(name)} should have ${bytes} bytes but have ${entry.uncompressedSize}; ${damaged}`,
      );
    return entry;
  };

async function readTensor(zip: ZipArchive, ref: TensorRef): Promise<HostTensor> {
  const { storage, offset, shape, stride, dtype } = ownTensor(ref);
  if (spansTooMuch(ref as Tensor))
    throw new UserError(
      `${pathText(zip.path)}: a tensor ${shown(shape)} is scattered over ${spanOf(shape, stride)} values of ${shown(storage.place.fileName)}; save it with .contiguous()`,
    );
  const { bytes, decode } = storage.type;
  const range = { start: offset * bytes, length: spanOf(shape, stride) * bytes };
  const values = decode(await zip.read(storage.place, range));
  return { dtype, shape, data: isContiguous(shape, stride) ? values : gather(values, { shape, stride }) };
}

/** Only a stored entry can be read from its middle; any other tensor is one piece. */
async function* piecesOf(zip: ZipArchive, ref: TensorRef): AsyncGenerator<TypedArray> {
  const { storage, offset, shape, stride } = ownTensor(ref);
  const count = product(shape);
  const step = storage.place.compressionMethod === 0 && isContiguous(shape, stride) ? pieceElements : count;
  if (count <= step) return yield (await readTensor(zip, ref)).data;
  for (let at = 0; at < count; at += step) {
    const place = { offset: offset + at, shape: [Math.min(step, count - at)], stride: [1] };
    yield (await readTensor(zip, new StoredTensor(storage, place))).data;
  }
}

function ownTensor(ref: TensorRef): Tensor {
  if (!(ref instanceof StoredTensor)) throw new Error("this is no tensor of a PyTorch checkpoint");
  return ref as Tensor;
}
