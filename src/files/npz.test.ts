/** Archives are read back by this project's reader, which follows NumPy. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { float32, type HostTensor, int32, uint8 } from "../core/arrays.ts";
import { openNpz } from "../data/npz.ts";
import { writeNpz } from "./npz.ts";

const temporary = mkdtempSync(join(tmpdir(), "fractalgen-npz-"));
afterAll(() => rmSync(temporary, { recursive: true }));

const arrays: Record<string, HostTensor> = {
  one: float32([1.5, -2, 3], [3]),
  table: { dtype: "float64", shape: [2, 3], data: Float64Array.of(1, 2, 3, 4, 5, Math.PI) },
  number: int32([7], []),
  labels: { dtype: "int64", shape: [2], data: BigInt64Array.of(1n, -1n) },
  part: uint8(Uint8Array.of(0, 1, 2, 3, 4, 5).subarray(2, 5), [3, 1]),
};

it("writes readable arrays of any shape and type", async () => {
  const path = join(temporary, "all.npz");
  await writeNpz(path, arrays);
  const npz = await openNpz(path);
  expect(npz.names).toEqual(Object.keys(arrays));
  for (const [name, { shape, data }] of Object.entries(arrays)) {
    const found = await npz.read(name);
    expect(found.shape).toEqual(shape);
    expect([...found.data]).toEqual([...data]);
  }
  npz.close();
});

it("writes the same bytes each time, with values at multiples of 64 in an array", async () => {
  const [a, b] = ["a.npz", "b.npz"].map((name) => join(temporary, name));
  await writeNpz(a, arrays);
  await writeNpz(b, arrays);
  const bytes = readFileSync(a);
  expect(bytes.equals(readFileSync(b))).toBe(true);
  const start = bytes.indexOf("\x93NUMPY", 0, "latin1");
  expect((10 + bytes.readUInt16LE(start + 8)) % 64).toBe(0);
});

it("reports why it cannot write", async () => {
  await expect(writeNpz(join(temporary, "all.npz", "x.npz"), arrays)).rejects.toThrow("cannot write");
});
