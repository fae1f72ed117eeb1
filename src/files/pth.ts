/** PyTorch checkpoints (`torch.save`: a zip with a pickle and raw storages), read without executing any of their code.
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
import { damaged, spansTooMuch, storageOf, TorchTensor, torchClass } from "./torch-classes.ts";
import { gather, isContiguous, spanOf } from "./torch-storage.ts";
import { openZip, type ZipArchive } from "./zip.ts";

type Tensor = TorchTensor<Entry>;

/**
 * Opens a checkpoint and reads its structure, but no tensor values. Throws a UserError for any fault of the file. Close
 * the checkpoint after use.
 */
export async function openTorchCheckpoint(path: string): Promise<Checkpoint> {
  checkStart(path, await firstBytes(path, 4));
  const zip = await openZip(path);
  try {
    const pickle = [...zip.entries.keys()].find((name) => /^([^/]+\/)?data\.pkl$/.test(name));
    if (pickle === undefined)
      throw new UserError(
        `${pathText(path)}: this zip contains no data.pkl; expected a checkpoint written by torch.save`,
      );
    const folder = pickle.slice(0, -"data.pkl".length);
    await checkByteOrder(zip, zip.entries.get(`${folder}byteorder`));
    const entry = zip.entries.get(pickle)!;
    if (entry.uncompressedSize > limits.pickleBytes)
      throw new UserError(
        `${pathText(path)}: its data.pkl has ${byteCount(entry.uncompressedSize)}, expected at most ${byteCount(limits.pickleBytes)}; this is not a model checkpoint`,
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
  if (start.length === 0) throw new UserError(`${pathText(path)}: the file is empty; download it again`);
  // Before PyTorch 1.6 a checkpoint was a bare pickle (protocol 2) with the storages after it.
  if (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5)
    throw new UserError(
      `${pathText(path)}: a checkpoint in the old PyTorch format (before 1.6), which is not supported; load it with PyTorch and save it again with torch.save`,
    );
  throw new UserError(
    `${pathText(path)}: not a checkpoint; expected a zip written by torch.save or a safetensors file; check the path`,
  );
}

async function checkByteOrder(zip: ZipArchive, entry: Entry | undefined): Promise<void> {
  const bytes = entry && (await zip.read(entry, { start: 0, length: Math.min(16, entry.uncompressedSize) }));
  if (bytes && new TextDecoder().decode(bytes) === "big")
    throw new UserError(
      `${pathText(zip.path)}: written on a big-endian machine, which is not supported; save it again on a little-endian machine`,
    );
}

/** A storage's values are in the entry `data/key`. */
const finder =
  ({ entries }: ZipArchive, folder: string) =>
  (key: string, bytes: number): Entry => {
    const name = `${folder}data/${key}`;
    const entry = entries.get(name);
    if (!entry) throw new PickleError(`the tensor values in ${shown(name)} are missing; ${damaged}`);
    if (entry.uncompressedSize < bytes)
      throw new PickleError(
        `the tensor values in ${shown(name)} take ${entry.uncompressedSize} bytes, expected ${bytes}; ${damaged}`,
      );
    return entry;
  };

async function readTensor(zip: ZipArchive, ref: TensorRef): Promise<HostTensor> {
  const { storage, offset, shape, stride, dtype } = ownTensor(ref);
  if (spansTooMuch(ref as Tensor))
    throw new UserError(
      `${pathText(zip.path)}: a tensor of shape ${shown(shape)} is scattered over ${spanOf(shape, stride)} values of ${shown(storage.place.fileName)}; save it with .contiguous()`,
    );
  const { bytes, decode } = storage.type;
  const range = { start: offset * bytes, length: spanOf(shape, stride) * bytes };
  const values = decode(await zip.read(storage.place, range));
  return { dtype, shape, data: isContiguous(shape, stride) ? values : gather(values, { shape, stride }) };
}

/** Only a contiguous tensor in an uncompressed entry can be read in pieces; any other tensor is one piece. */
async function* piecesOf(zip: ZipArchive, ref: TensorRef): AsyncGenerator<TypedArray> {
  const { storage, offset, shape, stride } = ownTensor(ref);
  const count = product(shape);
  const step = storage.place.compressionMethod === 0 && isContiguous(shape, stride) ? pieceElements : count;
  if (count <= step) return yield (await readTensor(zip, ref)).data;
  for (let at = 0; at < count; at += step) {
    const place = { offset: offset + at, shape: [Math.min(step, count - at)], stride: [1] };
    yield (await readTensor(zip, new TorchTensor(storage, place))).data;
  }
}

function ownTensor(ref: TensorRef): Tensor {
  if (!(ref instanceof TorchTensor)) throw new Error("this tensor does not belong to a PyTorch checkpoint");
  return ref as Tensor;
}
