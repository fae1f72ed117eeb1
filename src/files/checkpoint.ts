/** Opens a weight file of either format, PyTorch checkpoint or safetensors, recognised by its first bytes. */

import { product } from "../core/arrays.ts";
import { Opaque } from "./pickle.ts";
import { openTorchCheckpoint } from "./pth.ts";
import { firstBytes } from "./regular.ts";
import { readSafetensorsHeader, readTensor, readTensorRange, type TensorEntry } from "./safetensors.ts";
import { isSafetensorsStart } from "./safetensors-header.ts";
import { indexOf, openSharded } from "./sharded.ts";
import { type Checkpoint, pieceElements, TensorRef } from "./tensors.ts";

export { type Checkpoint, isTensorRef, TensorRef } from "./tensors.ts";

/**
 * Reads the structure of a weight file, but no tensor values. Throws a UserError for any fault of the file. Close the
 * checkpoint after use.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const index = await indexOf(path);
  if (index !== undefined) return openSharded(index, openCheckpoint);
  return isSafetensorsStart(await firstBytes(path, 10)) ? openSafetensors(path) : openTorchCheckpoint(path);
}

class NamedTensor extends TensorRef {
  readonly name: string;
  readonly dtype;
  readonly shape;
  constructor(name: string, { dtype, shape }: TensorEntry) {
    super();
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
  }
}

function openSafetensors(path: string): Checkpoint {
  const file = readSafetensorsHeader(path);
  const own = (ref: TensorRef): NamedTensor => {
    if (!(ref instanceof NamedTensor)) throw new Error("this tensor does not belong to a safetensors file");
    return ref;
  };
  return {
    path,
    value: new Map<string, unknown>([
      ...[...file.tensors].map(([name, entry]) => [name, new NamedTensor(name, entry)] as const),
      ...[...file.unreadable].map(([name, type]) => [name, new Opaque(`${type} tensor`)] as const),
    ]),
    read: async (ref) => readTensor(file, own(ref).name),
    async *pieces(ref) {
      const { name, shape } = own(ref);
      const count = product(shape);
      for (let at = 0; at < count; at += pieceElements)
        yield readTensorRange(file, name, { from: at, count: Math.min(pieceElements, count - at) });
    },
    close: async () => {},
  };
}
