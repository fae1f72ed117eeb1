/** Reads the tensors of a PyTorch checkpoint from its storages. Knows nothing of the formats that hold them. */

import { product } from "../core/arrays.ts";
import type { HostTensor, TypedArray } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import { pathText } from "./regular.ts";
import { type Checkpoint, pieceElements, type TensorRef } from "./tensors.ts";
import { spansTooMuch, TorchTensor } from "./torch-classes.ts";
import { gather, isContiguous, spanOf } from "./torch-storage.ts";

/** Where the bytes of storages are. */
export interface Storages<Place> {
  read(place: Place, range: { start: number; length: number }): Promise<Uint8Array<ArrayBuffer>>;
  /** Whether a range can be read without everything before it. */
  inPieces(place: Place): boolean;
}

/** The reading part of a checkpoint. */
export function tensorReader<Place>(
  path: string,
  storages: Storages<Place>,
): Pick<Checkpoint, "read" | "pieces"> & { read: (ref: TensorRef) => Promise<HostTensor> } {
  const own = (ref: TensorRef): TorchTensor<Place> => {
    if (!(ref instanceof TorchTensor)) throw new Error("this tensor does not belong to a PyTorch checkpoint");
    return ref;
  };
  const read = async (ref: TensorRef): Promise<HostTensor> => {
    const { storage, offset, shape, stride, dtype } = own(ref);
    if (spansTooMuch(own(ref)))
      throw new UserError({
        subject: pathText(path),
        problem: `a tensor of shape ${shown(shape)} is scattered over ${spanOf(shape, stride)} values of its storage`,
        hint: "save it with .contiguous()",
      });
    const { bytes, decode } = storage.type;
    const range = { start: offset * bytes, length: spanOf(shape, stride) * bytes };
    const values = decode(await storages.read(storage.place, range));
    return { dtype, shape, data: isContiguous(shape, stride) ? values : gather(values, { shape, stride }) };
  };
  return {
    read,
    /** Only a contiguous tensor can be read in pieces; any other is one piece. */
    async *pieces(ref): AsyncGenerator<TypedArray> {
      const { storage, offset, shape, stride } = own(ref);
      const count = product(shape);
      const step = storages.inPieces(storage.place) && isContiguous(shape, stride) ? pieceElements : count;
      if (count <= step) return yield (await read(ref)).data;
      for (let at = 0; at < count; at += step) {
        const place = { offset: offset + at, shape: [Math.min(step, count - at)], stride: [1] };
        yield (await read(new TorchTensor(storage, place))).data;
      }
    },
  };
}
