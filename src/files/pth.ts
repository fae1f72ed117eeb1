/** PyTorch checkpoints (`torch.save`: a zip with a pickle and raw storages), read without executing any of their code.
 *  Knows nothing of models. */

import type { Entry } from "yauzl";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { isOldStart, oldStartBytes, openOldCheckpoint } from "./old-pth.ts";
import { PickleError, unpickle } from "./pickle.ts";
import { firstBytes, pathText } from "./regular.ts";
import type { Checkpoint } from "./tensors.ts";
import { damaged, storageOf, torchClass } from "./torch-classes.ts";
import { tensorReader } from "./torch-tensors.ts";
import { openZip, type ZipArchive } from "./zip.ts";

/**
 * Opens a checkpoint and reads its structure, but no tensor values. Throws a UserError for any fault of the file. Close
 * the checkpoint after use.
 */
export async function openTorchCheckpoint(path: string): Promise<Checkpoint> {
  const start = await firstBytes(path, oldStartBytes);
  if (isOldStart(start)) return openOldCheckpoint(path);
  checkStart(path, start);
  const zip = await openZip(path);
  try {
    const pickle = [...zip.entries.keys()].find((name) => /^([^/]+\/)?data\.pkl$/.test(name));
    if (pickle === undefined)
      throw new UserError({
        subject: pathText(path),
        problem: "this zip contains no data.pkl",
        expected: "a checkpoint written by torch.save",
      });
    const folder = pickle.slice(0, -"data.pkl".length);
    await checkByteOrder(zip, zip.entries.get(`${folder}byteorder`));
    const entry = zip.entries.get(pickle)!;
    if (entry.uncompressedSize > limits.pickleBytes)
      throw new UserError({
        subject: pathText(path),
        problem: `its data.pkl has ${byteCount(entry.uncompressedSize)}`,
        expected: `at most ${byteCount(limits.pickleBytes)}`,
        hint: "check that this is a model checkpoint",
      });
    const bytes = await zip.read(entry, { start: 0, length: entry.uncompressedSize });
    const value = unpickle(bytes, { resolve: torchClass, persistent: (id) => storageOf(id, finder(zip, folder)) });
    return {
      path,
      value,
      ...tensorReader<Entry>(path, {
        read: (place, range) => zip.read(place, range),
        inPieces: ({ compressionMethod }) => compressionMethod === 0,
      }),
      close: async () => zip.close(),
    };
  } catch (error) {
    zip.close();
    throw error instanceof PickleError
      ? new UserError({ subject: pathText(path), problem: error.message }, { cause: error })
      : error;
  }
}

function checkStart(path: string, start: Buffer): void {
  if (start[0] === 0x50 && start[1] === 0x4b) return;
  if (start.length === 0)
    throw new UserError({ subject: pathText(path), problem: "the file is empty", hint: "download it again" });
  throw new UserError({
    subject: pathText(path),
    problem: "not a checkpoint",
    expected: "a zip written by torch.save or a safetensors file",
    hint: "check the path",
  });
}

async function checkByteOrder(zip: ZipArchive, entry: Entry | undefined): Promise<void> {
  const bytes = entry && (await zip.read(entry, { start: 0, length: Math.min(16, entry.uncompressedSize) }));
  if (bytes && new TextDecoder().decode(bytes) === "big")
    throw new UserError({
      subject: pathText(zip.path),
      problem: "written on a big-endian machine, which is not supported",
      hint: "save it again on a little-endian machine",
    });
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
