/** The tests of the safetensors format. */

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { float32, int32, uint8 } from "../core/arrays.ts";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { readSafetensors, readSafetensorsHeader, readTensor, writeSafetensors } from "./safetensors.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "safetensors-"));
  path = join(dir, "x.safetensors");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const fixture = fileURLToPath(new URL("../../fixtures/parity/mar-3level/expected.safetensors", import.meta.url));

const all: [string, HostTensor][] = [
  ["bytes", uint8(new Uint8Array([1, 2, 255]), [3])],
  ["flags", { dtype: "bool", shape: [2], data: new Uint8Array([1, 0]) }],
  ["floats", float32([1.5, -2, 3e-40, Infinity, NaN, -0], [2, 3])],
  ["scalar", int32([-7], [])],
  ["nothing", float32([], [0, 4])],
  ["doubles", { dtype: "float64", shape: [1], data: new Float64Array([Math.PI]) }],
  ["longs", { dtype: "int64", shape: [2], data: new BigInt64Array([-1n, 2n ** 62n]) }],
  ["unsigned", { dtype: "uint32", shape: [1, 1], data: new Uint32Array([4294967295]) }],
];

/** A file with this header (any JSON value, or raw text) and `dataBytes` zeros. */
function craft(header: unknown, dataBytes = 0): string {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  writeFileSync(path, bytes);
  return path;
}

function sentence(use: () => unknown): string {
  try {
    use();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message.replace(path, "FILE");
  }
  throw new Error("no error came");
}

describe("round trip", () => {
  test("every dtype, metadata, a view into a larger buffer", async () => {
    const view = float32(new Float32Array([9, 1, 2, 9]).subarray(1, 3), [2]);
    await writeSafetensors(path, [...all, ["view", view]], { metadata: { format: "pt", note: "über" } });
    const { tensors, metadata } = readSafetensors(path);
    expect(metadata).toEqual({ format: "pt", note: "über" });
    expect(Object.fromEntries(tensors)).toEqual(Object.fromEntries([...all, ["view", view]]));
    expect(readTensor(readSafetensorsHeader(path), "longs").data).toEqual(new BigInt64Array([-1n, 2n ** 62n]));
    expect(readdirSync(dir)).toEqual(["x.safetensors"]);
  });

  test("values start at a multiple of 64 without gaps, aligned to their element size, otherwise in order", async () => {
    for (let length = 0; length < 70; length++) {
      await writeSafetensors(path, all, { metadata: { pad: "x".repeat(length) } });
      const bytes = readFileSync(path);
      expect((8 + Number(bytes.readBigUInt64LE(0))) % 64).toBe(0);
      const entries = [...readSafetensorsHeader(path).tensors.values()];
      let end = 8 + Number(bytes.readBigUInt64LE(0));
      for (const { offset, bytes: size, shape } of entries) {
        expect(offset).toBe(end);
        end = offset + size;
        if (size) expect(offset % (size / shape.reduce((a, b) => a * b, 1))).toBe(0);
      }
      expect(end).toBe(bytes.length);
    }
    const names = [...readSafetensorsHeader(path).tensors.keys()];
    expect(names).toEqual(["doubles", "longs", "floats", "scalar", "nothing", "unsigned", "bytes", "flags"]);
  });

  test("refuses to write what it could not read back", async () => {
    const one = float32([1], [1]);
    await expect(
      writeSafetensors(path, [
        ["a", one],
        ["a", one],
      ]),
    ).rejects.toThrow(/duplicate tensor name "a"/);
    await expect(writeSafetensors(path, [["__metadata__", one]])).rejects.toThrow(
      /duplicate tensor name "__metadata__"/,
    );
    await expect(writeSafetensors(path, [["a", { ...one, shape: [2] }]])).rejects.toThrow(
      /1 values do not fit float32 \[2\]/,
    );
    await expect(writeSafetensors(path, [["a", { ...one, dtype: "float64" }]])).rejects.toThrow(/do not fit float64/);
  });

  test("reads a file of the reference implementation", () => {
    const file = readSafetensorsHeader(fixture);
    expect(file.tensors.get("images.u8")).toMatchObject({ dtype: "uint8", shape: [3, 16, 16, 3], bytes: 2304 });
    // From python3: struct.unpack_from("<3i", data, 11520) and struct.unpack_from("<2f", data, 2304).
    expect([...readTensor(file, "labels").data]).toEqual([0, 4, 1]);
    expect([...readTensor(file, "images").data].slice(0, 2)).toEqual([-0.0629335269331932, 0.43368443846702576]);
    expect(readSafetensors(fixture).tensors.size).toBe(file.tensors.size);
  });
});

describe("faults of a file", () => {
  const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  test.each([
    [
      "no JSON",
      "{oops",
      0,
      "FILE: its header is not a JSON object; the file is damaged or not a safetensors file, download or write the file again",
    ],
    [
      "a list",
      [],
      0,
      "FILE: its header is not a JSON object; the file is damaged or not a safetensors file, download or write the file again",
    ],
    [
      "metadata",
      { __metadata__: { a: 1 } },
      0,
      "FILE: its __metadata__ must map names to strings; the file is damaged, download or write the file again",
    ],
    [
      "dtype",
      { a: { ...entry, dtype: "F5" } },
      8,
      'FILE: tensor "a" has the dtype "F5", expected one of F64, I64, F32, I32, U32, I8, U8, BOOL, F16, BF16; convert the file to one of these',
    ],
    [
      "a dtype from the prototype",
      { a: { ...entry, dtype: "toString" } },
      8,
      'FILE: tensor "a" has the dtype "toString", expected one of F64, I64, F32, I32, U32, I8, U8, BOOL, F16, BF16; convert the file to one of these',
    ],
    [
      "no entry",
      { a: 3 },
      8,
      'FILE: tensor "a" has the dtype "undefined", expected one of F64, I64, F32, I32, U32, I8, U8, BOOL, F16, BF16; convert the file to one of these',
    ],
    [
      "shape",
      { a: { ...entry, shape: [-2] } },
      8,
      'FILE: tensor "a" has the shape [-2], not a list of sizes; the file is damaged, download or write the file again',
    ],
    [
      "range",
      { a: { ...entry, data_offsets: [8, 0] } },
      8,
      'FILE: tensor "a" has the range [8, 0], not [start, end]; the file is damaged, download or write the file again',
    ],
    [
      "size",
      { a: { ...entry, shape: [2, 2] } },
      8,
      'FILE: tensor "a" needs 16 bytes as F32 [2, 2], its range has 8; the file is damaged, download or write the file again',
    ],
    [
      "overlap",
      { a: entry, b: { ...entry, data_offsets: [4, 12] } },
      12,
      'FILE: tensors "a" and "b" share bytes; the file is damaged, download or write the file again',
    ],
    [
      "cut",
      { a: entry },
      7,
      'FILE: tensor "a" ends at byte 70, but the file ends at byte 69; it is truncated, download or write the file again',
    ],
  ])("%s", (_, header, dataBytes, expected) => {
    expect(sentence(() => readSafetensorsHeader(craft(header, dataBytes)))).toBe(expected);
  });

  test("missing, a folder, too short, a header longer than the file", () => {
    expect(sentence(() => readSafetensorsHeader(path))).toBe("FILE: there is no such file; check the path");
    expect(sentence(() => readSafetensorsHeader(dir))).toMatch(/this is a folder, not a file; name the file itself$/);
    writeFileSync(path, "abc");
    expect(sentence(() => readSafetensorsHeader(path))).toBe(
      "FILE: a safetensors file has at least 8 bytes, this one has 3; download or write the file again",
    );
    writeFileSync(path, "<!DOCTYPE html>");
    expect(sentence(() => readSafetensorsHeader(path))).toBe(
      "FILE: its header claims 5789751444030890300 bytes but only 7 follow; the file is truncated or not a safetensors file, download or write the file again",
    );
  });

  test("the error for an unknown tensor lists the existing ones", async () => {
    await writeSafetensors(path, all.slice(0, 2));
    expect(sentence(() => readTensor(readSafetensorsHeader(path), "weight"))).toBe(
      'FILE: it has no tensor "weight"; it has bytes, flags',
    );
  });

  test("a file truncated at any byte is rejected", async () => {
    await writeSafetensors(path, all);
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length += 5) {
      writeFileSync(path, whole.subarray(0, length));
      expect(() => readSafetensors(path), `${length} bytes`).toThrow(UserError);
    }
  });
});
