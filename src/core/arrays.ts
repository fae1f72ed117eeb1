/** Arrays on the host: a typed array with a shape. Knows nothing of graphs or files. */

export type DType = "float32" | "float16" | "int32" | "int64" | "int8" | "uint8" | "uint32" | "bool" | "float64";

/** The arrays that store the values of tensors; bool is stored in a `Uint8Array`, float16 in a `Uint16Array`. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Int8Array
  | Uint8Array
  | Uint16Array
  | Uint32Array;

/** An array on the host: values in raster order with a shape. */
export interface HostTensor<A extends TypedArray = TypedArray> {
  dtype: DType;
  shape: readonly number[];
  data: A;
}

/**
 * A tensor that a session of an engine left in its device's memory. Any session of the same engine accepts it as an
 * input, until its own session is disposed, to which its memory belongs.
 */
export interface DeviceTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The runtime's own tensor. */
  readonly held: unknown;
  /** Frees its memory, which garbage collection would do much later. */
  dispose(): void;
}

/** A tensor on the host or on the device. */
export type Value = HostTensor | DeviceTensor;

/** Frees those tensors that are on the device. */
export function freeOnDevice(values: Readonly<Record<string, Value>> | readonly Value[]): void {
  for (const value of Object.values(values)) if ("held" in value) value.dispose();
}

const constructors = {
  float32: Float32Array,
  float16: Uint16Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  uint32: Uint32Array,
  bool: Uint8Array,
} as const;

/** Bytes per element. */
export const bytesPerElement = (dtype: DType): number => constructors[dtype].BYTES_PER_ELEMENT;

export const arrayOf = (dtype: DType) => constructors[dtype];

/** Fills `array` with `of` each value. In V8, `from(values, of)` of typed arrays takes up to sixty times as long. */
export function filledBy<Filled extends { [index: number]: number; readonly length: number }>(
  array: Filled,
  values: ArrayLike<number>,
  of: (value: number, index: number) => number,
): Filled {
  for (let i = 0; i < array.length; i++) array[i] = of(values[i], i);
  return array;
}

/** The number of elements of a shape. */
export const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A float32 array from numbers and a shape. Throws if the count does not match the shape. */
export function float32(data: Float32Array | readonly number[], shape: readonly number[]): HostTensor<Float32Array> {
  return checked({ dtype: "float32", shape, data: data instanceof Float32Array ? data : Float32Array.from(data) });
}

/** An int32 array from whole numbers and a shape. Throws if the count does not match the shape. */
export function int32(data: Int32Array | readonly number[], shape: readonly number[]): HostTensor<Int32Array> {
  return checked({ dtype: "int32", shape, data: data instanceof Int32Array ? data : Int32Array.from(data) });
}

/** A uint8 array from bytes and a shape. Throws if the count does not match the shape. */
export function uint8(data: Uint8Array, shape: readonly number[]): HostTensor<Uint8Array> {
  return checked({ dtype: "uint8", shape, data });
}

function checked<A extends TypedArray>(tensor: HostTensor<A>): HostTensor<A> {
  if (tensor.data.length !== product(tensor.shape))
    throw new Error(`array of ${tensor.data.length} values does not fill the shape [${tensor.shape.join(", ")}]`);
  return tensor;
}

/** Concatenates bytes. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
