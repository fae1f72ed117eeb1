/**
 * Pickled batches of images: a dict with `data`, a NumPy array of bytes with one row per image, and a list of labels
 * (CIFAR, ImageNet32). Read without executing any of their code. Knows nothing of files.
 */

import { type Mistake, UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { Opaque, PickleError, PickleGlobal, Stateful, unpickle } from "../files/pickle.ts";
import { type NpyHeader, type NpyType, valueBytes, valuesFrom } from "./npy.ts";

/** An array of a batch, with its bytes as stored in the pickle. */
export interface PickledArray {
  header: NpyHeader;
  bytes: Uint8Array;
}

export type PickledBatch = ReadonlyMap<string, unknown>;

class DType extends Stateful {
  readonly code: string;
  bigEndian = false;
  constructor(code: string) {
    super();
    this.code = code;
  }
  /** (version, byte order, …) */
  setState(state: unknown): void {
    this.bigEndian = Array.isArray(state) && state[1] === ">";
  }
}

class NumpyArray extends Stateful {
  array?: PickledArray;
  /** (version, shape, dtype, Fortran order?, bytes) */
  setState(state: unknown): void {
    const [, shape, dtype, fortranOrder, bytes] = Array.isArray(state) ? state : [];
    this.array = arrayOf({ shape, dtype, fortranOrder: fortranOrder === true, bytes });
  }
}

const types: ReadonlySet<string> = new Set(["f2", "f4", "f8", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "b1"]);

/** Undefined if the array does not hold numbers. */
function arrayOf(given: {
  shape: unknown;
  dtype: unknown;
  fortranOrder: boolean;
  bytes: unknown;
}): PickledArray | undefined {
  const { shape, dtype, fortranOrder, bytes } = given;
  const isShape = (value: unknown): value is number[] =>
    Array.isArray(value) &&
    value.length <= limits.dimensions &&
    value.every((size) => Number.isSafeInteger(size) && size >= 0);
  const raw = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
  if (!isShape(shape) || !(dtype instanceof DType) || !(raw instanceof Uint8Array)) return undefined;
  const type = dtype.code.replace(/^[<>|=]/, "");
  if (!types.has(type)) return undefined;
  const header = { type: type as NpyType, shape: [...shape], bigEndian: dtype.bigEndian, fortranOrder };
  if (valueBytes(header) !== raw.length)
    throw new PickleError(
      `an array ${shown(shape)} of ${type} has ${raw.length} bytes; the file is damaged, so download it again`,
    );
  return { header, bytes: raw };
}

const reconstruct = () => new NumpyArray();
const encode = ([text]: readonly unknown[]) =>
  typeof text === "string" ? Buffer.from(text, "latin1") : new Opaque("bytes");
const fromBuffer = ([bytes, dtype, shape, order]: readonly unknown[]) => {
  const made = new NumpyArray();
  made.array = arrayOf({ shape, dtype, fortranOrder: order === "F", bytes });
  return made;
};
const known = new Map(
  Object.entries({
    "numpy.core.multiarray._reconstruct": reconstruct,
    "numpy._core.multiarray._reconstruct": reconstruct,
    "numpy.core.numeric._frombuffer": fromBuffer,
    "numpy._core.numeric._frombuffer": fromBuffer,
    "numpy.dtype": ([code]: readonly unknown[]) => new DType(typeof code === "string" ? code : ""),
    "_codecs.encode": encode,
  }).map(([name, make]) => [name, new PickleGlobal(name, make)]),
);

/** Reads the dict of a batch. Throws a UserError that begins with `where` for anything else. */
export function readBatch(bytes: Uint8Array, where: string): PickledBatch {
  const refused = (mistake: Mistake) => new UserError({ subject: where, ...mistake });
  let value: unknown;
  try {
    value = unpickle(bytes, {
      resolve: (name) => known.get(name) ?? new Opaque(shown(name)),
      persistent: () => new Opaque("a reference"),
    });
  } catch (error) {
    throw error instanceof PickleError ? refused({ problem: error.message }) : error;
  }
  if (!(value instanceof Map))
    throw refused({ problem: "this pickle is not a batch of images", expected: "a dict with data and labels" });
  // Python 2 strings are bytes in Python 3.
  const text = (key: unknown) => (key instanceof Uint8Array ? Buffer.from(key).toString("latin1") : key);
  return new Map([...value].map(([key, item]) => [shown(text(key)), item]));
}

/** Returns the array under a key. */
export function arrayIn(batch: PickledBatch, key: string, where: string): PickledArray {
  const value = batch.get(key);
  if (value instanceof NumpyArray && value.array) return value.array;
  throw new UserError({
    subject: where,
    expected: `an array of numbers under "${key}"`,
    got: `the keys ${[...batch.keys()].slice(0, 8).join(", ")}`,
  });
}

/** Returns the integers under the first of the keys that exists, from a list or an array. */
export function numbersIn(batch: PickledBatch, keys: readonly string[], where: string): ArrayLike<number> {
  const key = keys.find((one) => batch.has(one));
  const value = key === undefined ? undefined : batch.get(key);
  if (value instanceof NumpyArray && value.array && /^[iu]/.test(value.array.header.type))
    return valuesFrom(value.array.bytes, value.array.header);
  if (Array.isArray(value) && value.every((one) => typeof one === "number")) return value;
  throw new UserError({
    subject: where,
    expected: `a list of whole numbers under ${keys.map((one) => `"${one}"`).join(" or ")}`,
  });
}

/** Returns the strings under a key; undefined if there are none. */
export function textsIn(batch: PickledBatch, key: string): string[] | undefined {
  const value = batch.get(key);
  if (!Array.isArray(value)) return undefined;
  const texts = value.map((one) => (one instanceof Uint8Array ? Buffer.from(one).toString("latin1") : one));
  return texts.every((one) => typeof one === "string") ? texts : undefined;
}
