/** Reading PyTorch checkpoints: one written by PyTorch, and small handwritten ones. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UserError } from "../core/errors.ts";
import { isTensorRef, openCheckpoint, type TensorRef } from "./checkpoint.ts";
import { modelTensors } from "./state-dict.ts";
import { dict, global, int, type Layout, pickle, reduce, tensor, text, tuple, zip } from "./test-torch.ts";
import { processorSeconds } from "./test-time.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/parity/mar-3level/", import.meta.url));
const published = join(fixtures, "checkpoint-last.pth");

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pth-"));
  path = join(dir, "x.pth");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const bytesOf = (array: { buffer: ArrayBufferLike }) => new Uint8Array(array.buffer as ArrayBuffer);
const six = bytesOf(Float32Array.of(0, 1, 2, 3, 4, 5));

/** Writes a checkpoint with one tensor `t` and reads it. */
async function readOne(layout: Layout, storage: Uint8Array, options = {}) {
  writeFileSync(path, zip({ "any/data.pkl": pickle(dict({ t: tensor(layout) })), "any/data/0": storage }, options));
  const checkpoint = await openCheckpoint(path);
  const result = await checkpoint.read(modelTensors(checkpoint).get("t")!);
  await checkpoint.close();
  return result;
}

async function sentence(content: Uint8Array | string): Promise<string> {
  writeFileSync(path, content);
  const error = await openCheckpoint(path).then(
    () => "opened",
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message.replace(path, "FILE");
}

// Every number here is from python3, with zipfile, struct and a pickle.Unpickler whose find_class gives plain tuples.
describe("a checkpoint that PyTorch wrote", () => {
  test("the model", async () => {
    const checkpoint = await openCheckpoint(published);
    const tensors = modelTensors(checkpoint);
    expect(tensors.size).toBe(118);
    expect([...tensors.keys()].slice(0, 3)).toEqual(["fake_latent", "class_emb.weight", "generator.mask_token"]);
    const embedding = await checkpoint.read(tensors.get("class_emb.weight")!);
    expect(embedding).toMatchObject({ dtype: "float32", shape: [5, 48] });
    expect([...embedding.data].slice(0, 3)).toEqual([
      0.0012706272536888719, 0.011933591216802597, -0.024528896436095238,
    ]);
    expect(embedding.data.at(-1)).toBe(-0.08047456294298172);
    const bias = await checkpoint.read(tensors.get("next_fractal.next_fractal.b_mlm.bias")!);
    expect(bias.shape).toEqual([1, 256]);
    expect([...(bias.data as Float32Array)].reduce((a, b) => a + b)).toBeCloseTo(-3.8381577571562957, 12);
    let values = 0;
    for (const ref of tensors.values()) values += (await checkpoint.read(ref)).data.length;
    expect(values).toBe(153528); // case.json
    await checkpoint.close();
  });

  test("the optimiser and the arguments", async () => {
    const checkpoint = await openCheckpoint(join(fixtures, "checkpoint-after-step0.pth"));
    const root = checkpoint.value as Map<string, Map<unknown, unknown>>;
    expect([...root.keys()]).toEqual(["model", "optimizer", "epoch", "scaler", "args"]);
    expect([...root.get("args")!]).toEqual([
      ["model", "mar-3level"],
      ["img_size", 16],
      ["num_conds", 5],
    ]);
    const optimizer = root.get("optimizer")!;
    const state = optimizer.get("state") as Map<number, Map<string, TensorRef>>;
    expect(state.size).toBe(118);
    const first = state.get(1)!;
    expect((await checkpoint.read(first.get("step")!)).data).toEqual(Float32Array.of(1));
    expect((await checkpoint.read(first.get("exp_avg")!)).data[0]).toBe(-8.714874275028706e-5);
    expect((await checkpoint.read(first.get("exp_avg_sq")!)).data[0]).toBe(3.797451597620238e-8);
    const groups = optimizer.get("param_groups") as Map<string, unknown>[];
    expect(groups.map((group) => group.get("weight_decay"))).toEqual([0, 0.05]);
    await checkpoint.close();
  });
});

describe("storages", () => {
  test.each([
    ["Double", new Float64Array([Math.PI]), "float64", [Math.PI]],
    // Half: 1, -2, the largest 65504, the smallest 2^-24, infinity.
    ["Half", Uint16Array.of(0x3c00, 0xc000, 0x7bff, 1, 0x7c00), "float32", [1, -2, 65504, 2 ** -24, Infinity]],
    ["BFloat16", Uint16Array.of(0x3f80, 0xc049, 0x7f80), "float32", [1, -3.140625, Infinity]],
    ["Int", Int32Array.of(-5), "int32", [-5]],
    ["Long", BigInt64Array.of(-5n), "int64", [-5n]],
    ["Byte", Uint8Array.of(255), "uint8", [255]],
    ["Short", Int16Array.of(-300), "int32", [-300]],
    ["Char", Int8Array.of(-3), "int32", [-3]],
    ["Bool", Uint8Array.of(0, 1), "bool", [0, 1]],
  ])("%s", async (type, values, dtype, expected) => {
    const elements = expected.length;
    const result = await readOne({ type, elements, shape: [elements], stride: [1] }, bytesOf(values));
    expect(result).toMatchObject({ dtype, shape: [elements] });
    expect([...result.data]).toEqual(expected);
  });

  test.each([
    ["transposed", { elements: 6, shape: [3, 2], stride: [1, 3] }, [0, 3, 1, 4, 2, 5]],
    ["a part", { elements: 6, offset: 2, shape: [3], stride: [1] }, [2, 3, 4]],
    ["every second from the second", { elements: 6, offset: 1, shape: [3], stride: [2] }, [1, 3, 5]],
    ["repeated", { elements: 6, offset: 4, shape: [2, 2], stride: [0, 1] }, [4, 5, 4, 5]],
    ["one value", { elements: 6, offset: 5, shape: [], stride: [] }, [5]],
    ["nothing", { elements: 6, shape: [0, 3], stride: [3, 1] }, []],
  ])("%s, stored and deflated", async (_, layout, expected) => {
    for (const deflate of [false, true]) {
      const result = await readOne(layout, six, { deflate });
      expect(result.shape).toEqual(layout.shape);
      expect([...result.data]).toEqual(expected);
    }
  });

  test("a large contiguous tensor is read in pieces, any other as a whole", async () => {
    const large = Float32Array.from({ length: 2_500_000 }, (_, i) => i);
    const content = (part: Layout) => ({ "x/data.pkl": pickle(dict({ t: tensor(part) })), "x/data/0": bytesOf(large) });
    const part = { elements: large.length, offset: 3, shape: [2, 1_200_000], stride: [1_200_000, 1] };
    const cases = [
      { layout: part, options: {}, pieces: 3 },
      { layout: part, options: { deflate: true }, pieces: 1 },
      { layout: { ...part, stride: [1, 2] }, options: {}, pieces: 1 },
      { layout: { elements: 6, shape: [], stride: [] }, options: {}, pieces: 1 },
      { layout: { elements: 6, shape: [0], stride: [1] }, options: {}, pieces: 1 },
    ];
    for (const { layout, options, pieces } of cases) {
      writeFileSync(path, zip(content(layout), options));
      const checkpoint = await openCheckpoint(path);
      const ref = modelTensors(checkpoint).get("t")!;
      const got: Float32Array[] = [];
      for await (const piece of checkpoint.pieces(ref)) got.push(piece as Float32Array);
      expect(got.length).toBe(pieces);
      const whole = (await checkpoint.read(ref)).data as Float32Array;
      expect(Buffer.concat(got.map(bytesOf)).equals(bytesOf(whole))).toBe(true);
      await checkpoint.close();
    }
  });

  test("names of prototype properties are ordinary keys, a parameter is its tensor, sets and Size are read", async () => {
    const one = tensor({ elements: 1, shape: [1], stride: [1] });
    const root = dict({
      __proto__x: reduce(
        global("torch._utils", "_rebuild_parameter"),
        one,
        Buffer.from([0x88]),
        reduce(global("collections", "OrderedDict")),
      ),
      constructor: reduce(global("__builtin__", "set"), Buffer.concat([Buffer.from("]"), int(3), Buffer.from("a")])),
      size: reduce(global("torch", "Size"), tuple(int(2), int(3))),
    });
    writeFileSync(path, zip({ "data.pkl": pickle(root), "data/0": six }));
    const checkpoint = await openCheckpoint(path);
    const value = checkpoint.value as Map<string, unknown>;
    expect(isTensorRef(value.get("__proto__x"))).toBe(true);
    expect(value.get("constructor")).toEqual(new Set([3]));
    expect(value.get("size")).toEqual([2, 3]);
    expect([...modelTensors(checkpoint).keys()]).toEqual(["__proto__x"]);
    await checkpoint.close();
  });

  test("the state dict is found under its usual keys; otherwise the error lists the keys", () => {
    const find = (value: unknown) => modelTensors({ path: "x.pth", value });
    expect(() => find(new Map([["epoch", 3]]))).toThrow(
      new UserError(
        'x.pth: no model weights found: expected tensors under "model", "state_dict", "model_state_dict", "model_ema" or at the root, but its keys are epoch',
      ),
    );
    expect(() => find([1])).toThrow(/but it is not a dict$/);
  });
});

describe("faults of a file", () => {
  const layout = { elements: 6, shape: [6], stride: [1] };
  const good = () => zip({ "x/data.pkl": pickle(dict({ t: tensor(layout) })), "x/data/0": six });

  test("a pickle that would run code runs nothing, and is rejected if a weight depends on it", async () => {
    const call = reduce(global("os", "system"), text(`touch ${path}.ran`));
    const one = tensor({ elements: 1, shape: [1], stride: [1] });
    const weights = async (root: Record<string, Buffer>) => {
      writeFileSync(path, zip({ "x/data.pkl": pickle(dict(root)), "x/data/0": six }));
      const checkpoint = await openCheckpoint(path);
      try {
        return [...modelTensors(checkpoint).keys()];
      } finally {
        await checkpoint.close();
      }
    };
    expect(await weights({ model: dict({ a: one }), args: call })).toEqual(["a"]);
    await expect(weights({ model: dict({ a: one, b: call }) })).rejects.toThrow(
      `${path}: b is an object of the class os.system, which cannot be read, expected a plain tensor`,
    );
    const evil = reduce(global("\x1b[2J", "evil"));
    await expect(weights({ model: dict({ a: one, b: evil }) })).rejects.toThrow(/class \\x1b\[2J\.evil,/);
    writeFileSync(path, zip({ "x/data.pkl": pickle(call) }));
    const whole = await openCheckpoint(path);
    expect(() => modelTensors(whole)).toThrow(
      /it holds an object of the class os\.system.*as saved by torch\.save\(model\.state_dict\(\), \.\.\.\)$/,
    );
    await whole.close();
    expect(existsSync(`${path}.ran`)).toBe(false);
  });

  test("a flipped bit in the values is detected by the checksum", async () => {
    const bytes = good();
    bytes[bytes.indexOf(Buffer.from(six)) + 9] ^= 4;
    writeFileSync(path, bytes);
    const checkpoint = await openCheckpoint(path);
    await expect(checkpoint.read(modelTensors(checkpoint).get("t")!)).rejects.toThrow(
      `${path}: x/data/0 inside it is damaged: its checksum does not match; download the file again`,
    );
    await checkpoint.close();
  });

  test("a key that doubles itself forty times, and huge integers, are rejected quickly", async () => {
    const started = process.cpuUsage();
    writeFileSync(
      path,
      zip({
        "x/data.pkl": pickle(
          Buffer.concat([
            Buffer.from("}"),
            Buffer.from("X\x01\0\0\0x", "latin1"),
            ...Array(40).fill(Buffer.from("2\x86", "latin1")),
            Buffer.from("Ns"),
          ]),
        ),
      }),
    );
    const checkpoint = await openCheckpoint(path);
    expect(() => modelTensors(checkpoint)).toThrow(/its keys are a list$/);
    await checkpoint.close();
    const long = Buffer.concat([Buffer.from([0x8b, 0, 4, 0, 0]), Buffer.alloc(1024, 1)]);
    const many = pickle(Buffer.concat([Buffer.from("("), ...Array(10_000).fill(long), Buffer.from("l")]));
    expect(await sentence(zip({ "x/data.pkl": many }, { deflate: true }))).toMatch(/has an integer of 1024 bytes/);
    expect(await sentence(zip({ "x/data.pkl": Buffer.alloc(17e6) }, { deflate: true }))).toMatch(
      /its data\.pkl has 17 MB, expected at most 16 MB/,
    );
    expect(processorSeconds(started)).toBeLessThan(10); // 23 s and for ever, without bounds
  });

  test("a tensor scattered over far more values than it has is rejected", async () => {
    const large = new Uint8Array(4 * 20_000_000);
    const scattered = { elements: 20_000_000, shape: [2], stride: [19_999_999] };
    await expect(readOne(scattered, large)).rejects.toThrow(/is scattered over 20000000 values .*\.contiguous\(\)$/);
  });

  test.each([
    ["empty", () => "", "FILE: the file is empty; download it again"],
    [
      "text",
      () => "<!DOCTYPE html>",
      "FILE: not a checkpoint, expected a zip written by torch.save or a safetensors file; check the path",
    ],
    // How torch.save began a file before 1.6: the magic number 0x1950a86a20f9469cfc6c as a long.
    ["old", () => Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex"), "FILE: its pickle is truncated"],
    [
      "another zip",
      () => zip({ "a.txt": six }),
      "FILE: this zip contains no data.pkl, expected a checkpoint written by torch.save",
    ],
    [
      "big-endian",
      () => zip({ "x/data.pkl": six, "x/byteorder": Buffer.from("big") }),
      "FILE: written on a big-endian machine, which is not supported; save it again on a little-endian machine",
    ],
    [
      "no storage",
      () => zip({ "x/data.pkl": pickle(tensor(layout)) }),
      "FILE: the tensor values in x/data/0 are missing; the file is damaged or incomplete, so download it again",
    ],
    [
      "short storage",
      () => zip({ "x/data.pkl": pickle(tensor(layout)), "x/data/0": six.slice(4) }),
      "FILE: the tensor values in x/data/0 take 20 bytes, expected 24; the file is damaged or incomplete, so download it again",
    ],
    [
      "past the end",
      () => zip({ "x/data.pkl": pickle(tensor({ ...layout, offset: 1 })), "x/data/0": six }),
      "FILE: a tensor of shape [6] reaches past the 6 values of its storage; the file is damaged or incomplete, so download it again",
    ],
    [
      "a bomb of strides",
      () => zip({ "x/data.pkl": pickle(tensor({ elements: 6, shape: [2e9, 2e9], stride: [0, 0] })), "x/data/0": six }),
      "FILE: a tensor of shape [2000000000, 2000000000] repeats its 6 stored values too often for a checkpoint; save it with .contiguous()",
    ],
    [
      "a storage of a list",
      () =>
        zip({
          "x/data.pkl": pickle(reduce(global("torch._utils", "_rebuild_tensor_v2"), tuple(), int(0), tuple(), tuple())),
        }),
      "FILE: its pickle has a tensor description that PyTorch does not write; the file is damaged or incomplete, so download it again",
    ],
    [
      "a truncated pickle",
      () => zip({ "x/data.pkl": pickle(tensor(layout)).subarray(0, 40), "x/data/0": six }),
      "FILE: its pickle is truncated",
    ],
  ])("%s", async (_, content, expected) => {
    expect(await sentence(content())).toBe(expected);
  });

  test("missing, a folder", async () => {
    await expect(openCheckpoint(path)).rejects.toThrow(new UserError(`${path}: there is no such file; check the path`));
    await expect(openCheckpoint(dir)).rejects.toThrow(
      new UserError(`${dir}: this is a folder, not a file; name the file itself`),
    );
  });

  test("a deflated entry that claims more than it can hold is rejected before memory is allocated", async () => {
    const bytes = zip(
      { "x/data.pkl": pickle(tensor({ ...layout, elements: 500_000_000, shape: [500_000_000] })), "x/data/0": six },
      { deflate: true },
    );
    for (let at = bytes.indexOf("PK\x01\x02"); at >= 0; at = bytes.indexOf("PK\x01\x02", at + 4))
      if (bytes.toString("latin1", at + 46, at + 54) === "x/data/0") bytes.writeUInt32LE(2_000_000_000, at + 24);
    writeFileSync(path, bytes);
    const checkpoint = await openCheckpoint(path);
    await expect(checkpoint.read(checkpoint.value as TensorRef)).rejects.toThrow(
      /x\/data\/0 inside it claims more bytes than it can hold/,
    );
    await checkpoint.close();
  });

  test("a checkpoint truncated at any byte is rejected", async () => {
    const whole = good();
    for (let length = 4; length < whole.length; length += 7)
      expect(await sentence(whole.subarray(0, length))).toMatch(
        /^FILE: the archive is truncated or damaged \(.*\); download it again$/,
      );
    const large = readFileSync(published);
    for (const part of [0.01, 0.5, 0.999])
      expect(await sentence(large.subarray(0, large.length * part))).toMatch(
        /^FILE: the archive is truncated or damaged/,
      );
  });

  test("a checkpoint with any byte changed is read or rejected with one sentence, never with a crash", async () => {
    const whole = good();
    let refused = 0;
    for (let at = 0; at < whole.length; at++) {
      const bytes = Buffer.from(whole);
      bytes[at] ^= 0xff;
      writeFileSync(path, bytes);
      try {
        const checkpoint = await openCheckpoint(path);
        try {
          for (const ref of modelTensors(checkpoint).values()) await checkpoint.read(ref);
        } finally {
          await checkpoint.close();
        }
      } catch (error) {
        expect(error, `byte ${at}: ${String(error)}`).toBeInstanceOf(UserError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(whole.length / 3);
  });
});
