/**
 * Both of PyTorch's formats, read by one function: values, strides, types, and damaged or untrusted files.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { openTorchWeights } from "./inception-pth.ts";
import { oldCheckpointBytes } from "./test-old-torch.ts";
import { checkpointBytes } from "./test-torch.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-old-torch-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, "weights.pth");
const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const weights = {
  a: { shape: [2, 3], bytes: floats(1, 2, 3, 4, 5, 6) },
  count: { type: "Long", shape: [], bytes: new Uint8Array(BigInt64Array.of(7n).buffer) },
};

async function values(bytes: Uint8Array): Promise<Record<string, unknown>> {
  writeFileSync(path, bytes);
  const file = await openTorchWeights(path);
  const found: Record<string, unknown> = {};
  for (const name of file.tensors.keys()) {
    const { dtype, shape, data } = await file.read(name);
    expect(file.tensors.get(name)).toMatchObject({ dtype, shape });
    found[name] = [dtype, shape, ...data];
  }
  await file.close();
  return found;
}

/** The error message for a file, without its path. */
async function refusal(bytes: Uint8Array): Promise<string> {
  const error = await values(bytes).then(
    () => new Error("it was read"),
    (reason: Error) => reason,
  );
  expect(error, error.message).toBeInstanceOf(UserError);
  return error.message.replace(path, "FILE");
}

describe("weights", () => {
  it.each([
    ["before 1.6", oldCheckpointBytes],
    ["since 1.6", checkpointBytes],
  ])("are read from the format %s", async (_, write) => {
    expect(await values(write(weights))).toEqual({
      a: ["float32", [2, 3], 1, 2, 3, 4, 5, 6],
      count: ["int64", [], 7n],
    });
  });

  it("are reordered if strided or in the middle of a storage", async () => {
    const bytes = oldCheckpointBytes({
      across: { shape: [2, 3], stride: [1, 2], bytes: floats(1, 4, 2, 5, 3, 6) },
      middle: { shape: [2], offset: 3, bytes: floats(0, 0, 0, 8, 9, 0) },
    });
    expect(await values(bytes)).toEqual({
      across: ["float32", [2, 3], 1, 2, 3, 4, 5, 6],
      middle: ["float32", [2], 8, 9],
    });
  });
});

describe("of the old format are rejected", () => {
  const good = oldCheckpointBytes(weights);

  it("if truncated at any length", async () => {
    for (let length = 21; length < good.length; length += 7)
      expect(await refusal(good.subarray(0, length))).toMatch(/^FILE: .*(truncated|damaged)/);
  });

  it("if a tensor reaches past its storage or repeats it", async () => {
    for (const wrong of [
      { shape: [3], bytes: floats(1, 2) },
      { shape: [2], offset: 1, bytes: floats(1, 2) },
      { shape: [10_000, 10_000], stride: [0, 0], bytes: floats(1) },
    ])
      expect(await refusal(oldCheckpointBytes({ wrong }))).toMatch(
        /^FILE: a tensor of shape \[.*\] (reaches past the \d values of its storage|repeats its 1 stored values too often)/,
      );
  });

  it("if a weight is made by an unknown class, whose code never runs", async () => {
    const evil = Buffer.from(good.toString("latin1").replace("torch._utils", "posix.system"), "latin1");
    expect(await refusal(evil)).toMatch(/^FILE: a is an object of the class posix\.system\.\S+, which cannot be read/);
  });
});
