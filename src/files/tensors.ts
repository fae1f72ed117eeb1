/** The common interface of weight files: a tree of tensors whose values are read on demand. */

import type { DType, HostTensor, TypedArray } from "../core/arrays.ts";

/** A tensor of a checkpoint whose values are still in the file. `dtype` is the type that `read` returns. */
export abstract class TensorRef {
  abstract readonly dtype: DType;
  abstract readonly shape: readonly number[];
}

export const isTensorRef = (value: unknown): value is TensorRef => value instanceof TensorRef;

export interface Checkpoint {
  path: string;
  /**
   * dict, OrderedDict and argparse.Namespace become Maps, list and tuple arrays, tensors TensorRefs, unknown objects
   * Opaque.
   */
  value: unknown;
  /** The tensor's values, row-major; half and bfloat16 become float32. Reads only its range of the file. */
  read: (ref: TensorRef) => Promise<HostTensor>;
  /** The same values in pieces of a few megabytes. */
  pieces: (ref: TensorRef) => AsyncGenerator<TypedArray>;
  close: () => Promise<void>;
}

/** Elements per piece. */
export const pieceElements = 1 << 20;

/** Doubles as floats; other values unchanged. */
export const asFloat32 = (values: TypedArray): TypedArray =>
  values instanceof Float64Array ? Float32Array.from(values) : values;
