/** PyTorch's storages and strided tensors: the supported types, and how to decode them. Knows nothing of files. */

import type { DType, TypedArray } from "../core/arrays.ts";
import { fromBfloat16, fromHalf } from "../core/half.ts";

/** One storage type: its bytes per element in the file, and the type it is decoded to. */
export interface StorageType {
  bytes: number;
  dtype: DType;
  decode: (bytes: Uint8Array<ArrayBuffer>) => TypedArray;
}

/**
 * Keyed by the name that a checkpoint uses. Half and bfloat16 become float32, 8- and 16-bit integers int32; all
 * exactly.
 */
export const storageTypes: ReadonlyMap<string, StorageType> = new Map<string, StorageType>([
  ["torch.FloatStorage", { bytes: 4, dtype: "float32", decode: ({ buffer }) => new Float32Array(buffer) }],
  ["torch.DoubleStorage", { bytes: 8, dtype: "float64", decode: ({ buffer }) => new Float64Array(buffer) }],
  ["torch.HalfStorage", { bytes: 2, dtype: "float32", decode: ({ buffer }) => fromHalf(new Uint16Array(buffer)) }],
  [
    "torch.BFloat16Storage",
    { bytes: 2, dtype: "float32", decode: ({ buffer }) => fromBfloat16(new Uint16Array(buffer)) },
  ],
  ["torch.IntStorage", { bytes: 4, dtype: "int32", decode: ({ buffer }) => new Int32Array(buffer) }],
  ["torch.LongStorage", { bytes: 8, dtype: "int64", decode: ({ buffer }) => new BigInt64Array(buffer) }],
  ["torch.ByteStorage", { bytes: 1, dtype: "uint8", decode: (bytes) => bytes }],
  ["torch.ShortStorage", { bytes: 2, dtype: "int32", decode: ({ buffer }) => Int32Array.from(new Int16Array(buffer)) }],
  ["torch.CharStorage", { bytes: 1, dtype: "int32", decode: ({ buffer }) => Int32Array.from(new Int8Array(buffer)) }],
  ["torch.BoolStorage", { bytes: 1, dtype: "bool", decode: (bytes) => bytes.map((value) => (value ? 1 : 0)) }],
]);

/** The number of elements from the first to the last that a strided tensor touches; 0 if it is empty. */
export const spanOf = (shape: readonly number[], stride: readonly number[]): number =>
  shape.includes(0) ? 0 : shape.reduce((span, size, axis) => span + (size - 1) * stride[axis], 1);

export function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && stride[axis] !== expected) return false;
    expected *= shape[axis];
  }
  return true;
}

/** The values of a strided tensor in row-major order; `values` starts at its first element. */
export function gather<A extends TypedArray>(
  values: A,
  { shape, stride }: { shape: readonly number[]; stride: readonly number[] },
): A {
  const count = shape.reduce((a, b) => a * b, 1);
  const result = new (values.constructor as new (count: number) => A)(count);
  const index = shape.map(() => 0);
  for (let to = 0, from = 0; to < count; to++) {
    result[to] = values[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += stride[axis];
      if (++index[axis] < shape[axis]) break;
      from -= shape[axis] * stride[axis];
      index[axis] = 0;
    }
  }
  return result;
}
