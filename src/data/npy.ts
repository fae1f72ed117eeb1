/**
 * NumPy's array format: a header in Python's notation, then the values. Knows nothing of files or what arrays mean.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */

import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { fromHalf } from "../core/half.ts";

/** The supported types, by NumPy's short names. */
const arrays = {
  f2: Uint16Array, // JavaScript has no array for these; `valuesFrom` decodes them
  f4: Float32Array,
  f8: Float64Array,
  u1: Uint8Array,
  i1: Int8Array,
  i2: Int16Array,
  u2: Uint16Array,
  i4: Int32Array,
  u4: Uint32Array,
  i8: BigInt64Array,
  u8: BigUint64Array,
  b1: Uint8Array,
} as const;

export type NpyType = keyof typeof arrays;
export type NpyData = InstanceType<(typeof arrays)[NpyType]>;

export interface NpyHeader {
  type: NpyType;
  shape: number[];
  bigEndian: boolean;
  /** The first axis varies fastest instead of the last. */
  fortranOrder: boolean;
}

export interface NpyArray {
  type: NpyType;
  shape: number[];
  /** Always row-major, regardless of the order in the file. */
  data: NpyData;
}

/** Reads the header; `take` returns the next bytes. `where` names the array in errors. */
export async function readNpyHeader(
  take: (length: number) => Promise<Uint8Array> | Uint8Array,
  where: string,
): Promise<NpyHeader> {
  const start = Buffer.from(await take(8));
  if (start.length < 8 || start.toString("latin1", 0, 6) !== "\x93NUMPY")
    throw new UserError({
      subject: where,
      problem: "not a NumPy array",
      hint: "save it with numpy.save or numpy.savez",
    });
  const wide = start[6] >= 2;
  const size = Buffer.from(await take(wide ? 4 : 2));
  const cut = () =>
    new UserError({ subject: where, problem: "it ends in its header", hint: "save or download it again" });
  if (size.length < (wide ? 4 : 2)) throw cut();
  const length = wide ? size.readUInt32LE() : size.readUInt16LE();
  if (length > limits.npyHeaderBytes)
    throw new UserError({
      subject: where,
      problem: `its header claims ${byteCount(length)}`,
      expected: `at most ${byteCount(limits.npyHeaderBytes)}`,
      hint: "the file is damaged, so save or download it again",
    });
  const header = Buffer.from(await take(length));
  if (header.length < length) throw cut();
  return parseHeader(header.toString("latin1"), where);
}

function parseHeader(header: string, where: string): NpyHeader {
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const fortran = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const sizes = /'shape':\s*\(([\d\s,L]*)\)/.exec(header)?.[1];
  if (fortran === undefined || sizes === undefined)
    throw new UserError({
      subject: where,
      problem: `its header is not in NumPy's format: ${shown(header.trim(), 100)}`,
      hint: "save it with numpy.save or numpy.savez",
    });
  const [, order, type] = /^([<>|=])(\w+)$/.exec(descr ?? "") ?? [];
  if (!Object.hasOwn(arrays, type ?? ""))
    throw new UserError({
      subject: where,
      problem: `its values are of type ${shown(descr ?? "object")}`,
      expected: `numbers (${Object.keys(arrays).join(", ")})`,
    });
  const shape = (sizes.match(/\d+/g) ?? []).map(Number);
  if (shape.length > limits.dimensions || !shape.every(Number.isSafeInteger))
    throw new UserError({
      subject: where,
      problem: `its header has the shape (${shown(sizes)}), which is not valid`,
      hint: "save or download it again",
    });
  return { type: type as NpyType, shape, bigEndian: order === ">", fortranOrder: fortran === "True" };
}

/** The size of an array's values in bytes. */
export const valueBytes = ({ type, shape }: Pick<NpyHeader, "type" | "shape">): number =>
  product(shape) * arrays[type].BYTES_PER_ELEMENT;

/** Decodes a whole array from its header and the bytes of its values. `where` names it in errors. */
export function arrayOf(header: NpyHeader, bytes: Uint8Array, where: string): NpyArray {
  const { type, shape } = header;
  const expected = valueBytes(header);
  if (bytes.length !== expected)
    throw new UserError({
      subject: where,
      problem: `it has ${bytes.length} bytes of values, but ${type} [${shape.join(", ")}] needs ${expected}`,
      hint: "save or download it again",
    });
  const values = Uint8Array.from(bytes); // an aligned copy
  if (header.bigEndian) swapBytes(values, arrays[type].BYTES_PER_ELEMENT);
  const data =
    type === "f2" ? Float32Array.from(fromHalf(new Uint16Array(values.buffer))) : new arrays[type](values.buffer);
  return { type, shape, data: header.fortranOrder ? rowMajor(data, shape) : data };
}

/** Decodes values of any type to numbers; `bytes` must hold a whole number of values. */
export function valuesFrom(
  bytes: Uint8Array,
  { type, bigEndian }: Pick<NpyHeader, "type" | "bigEndian">,
): ArrayLike<number> & Iterable<number> {
  if (type === "u1" || type === "b1") return bytes;
  if (bytes.length % arrays[type].BYTES_PER_ELEMENT !== 0)
    throw new UserError({
      problem: `an array of ${type} ends in the middle of a value`,
      hint: "the file is damaged or incomplete, so download it again",
    });
  const copy = Uint8Array.from(bytes); // aligned
  if (bigEndian) swapBytes(copy, arrays[type].BYTES_PER_ELEMENT);
  if (type === "f2") return fromHalf(new Uint16Array(copy.buffer));
  const values = new arrays[type](copy.buffer);
  return typeof values[0] === "bigint" ? Float64Array.from(values as BigInt64Array, Number) : (values as Float64Array);
}

/** The size of one value in bytes. */
export const itemBytes = (type: NpyType): number => arrays[type].BYTES_PER_ELEMENT;

function swapBytes(values: Uint8Array, size: number): void {
  for (let at = 0; at < values.length; at += size) values.subarray(at, at + size).reverse();
}

/** Converts from Fortran order to row-major. */
function rowMajor(data: NpyData, shape: readonly number[]): NpyData {
  const out = data.slice();
  const place = shape.map(() => 0);
  for (let at = 0; at < data.length; at++) {
    // The position of the value at `place` if the first axis varies fastest.
    let from = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) from = from * shape[axis] + place[axis];
    out[at] = data[from];
    for (let axis = shape.length - 1; axis >= 0 && ++place[axis] === shape[axis]; axis--) place[axis] = 0;
  }
  return out;
}
