/** NumPy arrays and archives: every type, both byte orders, both memory orders, and damage. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { arrayOf, readNpyHeader, valuesFrom } from "./npy.ts";
import { openNpz } from "./npz.ts";
import { npy, npz, put } from "./test-files.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-npy-"));
afterAll(() => rmSync(folder, { recursive: true }));

const bytesOf = ({ buffer }: { buffer: ArrayBuffer }) => new Uint8Array(buffer);
const bigEndian = (array: { buffer: ArrayBuffer; BYTES_PER_ELEMENT: number }) => {
  const bytes = bytesOf(array).slice();
  for (let at = 0; at < bytes.length; at += array.BYTES_PER_ELEMENT)
    bytes.subarray(at, at + array.BYTES_PER_ELEMENT).reverse();
  return bytes;
};

async function readNpy(bytes: Uint8Array, where: string) {
  let at = 0;
  const header = await readNpyHeader((length) => bytes.subarray(at, (at += length)), where);
  return arrayOf(header, bytes.subarray(at), where);
}

describe("an array", () => {
  const arrays = {
    f4: Float32Array.of(1.5, -2, 3e-9),
    f8: Float64Array.of(Math.PI, -1e300, 0),
    u1: Uint8Array.of(0, 128, 255),
    i1: Int8Array.of(-128, 0, 127),
    i2: Int16Array.of(-300, 7, 30000),
    u2: Uint16Array.of(1, 2, 65535),
    i4: Int32Array.of(-70000, 0, 1),
    u4: Uint32Array.of(4e9, 1, 2),
    i8: BigInt64Array.of(-1n, 2n, 1n << 40n),
    u8: BigUint64Array.of(1n, 2n, 1n << 63n),
    b1: Uint8Array.of(0, 1, 1),
  };
  it.each(Object.entries(arrays))("reads %s in both byte orders", async (type, data) => {
    const little = await readNpy(
      npy(`${data.BYTES_PER_ELEMENT > 1 ? "<" : "|"}${type}`, [3], { values: bytesOf(data) }),
      "it",
    );
    expect(little).toEqual({ type, shape: [3], data });
    const big = await readNpy(npy(`>${type}`, [3], { values: bigEndian(data) }), "it");
    expect(big).toEqual({ type, shape: [3], data });
  });

  it("converts a Fortran-order array to row-major", async () => {
    // Of shape [2, 3, 2] with value 100 i + 10 j + k: the first index varies fastest in the file.
    const values: number[] = [];
    for (let k = 0; k < 2; k++)
      for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) values.push(100 * i + 10 * j + k);
    const { data } = await readNpy(npy("|u1", [2, 3, 2], { values: Uint8Array.from(values), fortran: true }), "it");
    expect([...data]).toEqual([0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121]);
  });

  it("reads halves as floats", async () => {
    const values = bytesOf(Uint16Array.of(0x3c00, 0xc000, 0x3800));
    expect((await readNpy(npy("<f2", [3], { values }), "it")).data).toEqual(Float32Array.of(1, -2, 0.5));
  });

  it("reads a scalar", async () => {
    const { shape, data } = await readNpy(npy("<f8", [], { values: bytesOf(Float64Array.of(7)) }), "it");
    expect([shape, [...data]]).toEqual([[], [7]]);
  });

  it.each([
    [
      "values that are missing",
      npy("<f4", [3], { values: new Uint8Array(11) }),
      /^it: it has 11 bytes of values, but f4 \[3\] needs 12/,
    ],
    [
      "another type",
      npy("<c8", [3], { values: new Uint8Array(24) }),
      /^it: its values are of type <c8, expected numbers/,
    ],
    ["text", npy("<U5", [1], { values: new Uint8Array(20) }), /type <U5/],
    ["a name that an object has", npy("<constructor", [1], { values: new Uint8Array(20) }), /type <constructor/],
    ["no array", Buffer.from("hello world"), /^it: not a NumPy array/],
    [
      "a header that claims gigabytes",
      Buffer.from([0x93, ...Buffer.from("NUMPY"), 2, 0, 0xff, 0xff, 0xff, 0xaf, 0x7b]),
      /^it: its header claims 2\.95 GB, expected at most 66 kB/,
    ],
    ["more sizes than arrays have", npy("<f4", Array(40).fill(1), { values: new Uint8Array(4) }), /which is not valid/],
    ["a cut header", npy("<f4", [3], { values: new Uint8Array(12) }).subarray(0, 40), /^it: it ends in its header/],
  ])("refuses %s", async (_, bytes, message) => {
    await expect(readNpy(bytes, "it")).rejects.toThrow(UserError);
    await expect(readNpy(bytes, "it")).rejects.toThrow(message);
  });
});

describe("openNpz", () => {
  const path = join(folder, "a.npz");
  const one = npy("<i4", [2], { values: bytesOf(Int32Array.of(5, -6)) });
  const two = npy("|u1", [100, 100], { values: new Uint8Array(10_000).fill(3) });

  it.each([false, true])("reads arrays by name (deflated: %s)", async (deflate) => {
    put(path, npz({ one, two }, { deflate }));
    const file = await openNpz(path);
    expect(file.names).toEqual(["one", "two"]);
    expect(await file.read("one")).toEqual({ type: "i4", shape: [2], data: Int32Array.of(5, -6) });
    expect(await file.header("two")).toEqual({ type: "u1", shape: [100, 100], bigEndian: false, fortranOrder: false });
    const { bytes } = await file.values("two");
    expect(await bytes.take(4)).toEqual(Buffer.from([3, 3, 3, 3]));
    expect((await bytes.take(20_000)).length).toBe(9996);
    await bytes.close();
    await expect(file.read("three")).rejects.toThrow(`${path}: it has no array "three", only one, two`);
    file.close();
  });

  it("reports a damaged archive, wherever the damage is", async () => {
    const whole = npz({ two }, { deflate: true });
    const changed = Buffer.from(whole);
    changed.fill(0xff, 45, 60); // inside the packed values
    for (const bytes of [whole.subarray(0, -30), whole.subarray(0, 10), changed]) {
      put(path, bytes);
      const read = async () => {
        const file = await openNpz(path);
        await file.read("two").finally(() => file.close());
      };
      await expect(read()).rejects.toThrow(UserError);
      await expect(read()).rejects.toThrow(/a\.npz: .*damaged/);
    }
  });
});

it("an array that ends in the middle of a value is a sentence", () => {
  expect(() => valuesFrom(new Uint8Array(7), { type: "f4", bigEndian: false })).toThrow(UserError);
  expect([...valuesFrom(new Uint8Array(8), { type: "f4", bigEndian: false })]).toEqual([0, 0]);
});
