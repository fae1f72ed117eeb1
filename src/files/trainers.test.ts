/**
 * Checkpoints of other trainers: prefixes, moving averages, safetensors, other objects besides the weights, broken
 * weights.
 */

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { nodeEngine } from "../engine/node.ts";
import { modelParameters } from "../model/parameters.ts";
import { createSampler } from "../sample/sampler.ts";
import { type ConversionOptions, openConversion } from "./convert.ts";
import { externalModel } from "./external.ts";
import { checkWeights } from "./finite.ts";
import { readModelFolder, writeModelFolder } from "./model.ts";
import { readSafetensors } from "./safetensors.ts";
import { oldCheckpointBytes } from "./test-old-torch.ts";
import { checkpointBytes, global, int, reduce, type Stored, text } from "./test-torch.ts";

const config = parseModelConfig(
  {
    imageSize: 4,
    classes: ["one"],
    levels: [
      { kind: "ar", patch: 1, width: 4, depth: 1, heads: 1 },
      { kind: "pixel", width: 4, depth: 1, heads: 1 },
    ],
  },
  "the test",
);
const parameters = modelParameters(config);
const embedding = "class_emb.weight";

let dir: string;
let path: string;
let out: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "trainers-"));
  path = join(dir, "x.pth");
  out = join(dir, "out");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const filled = (value: number, prefix = ""): Map<string, Stored> =>
  new Map(
    parameters.map(({ name, shape }) => [
      prefix + name,
      { shape, bytes: new Uint8Array(new Float32Array(product(shape)).fill(value).buffer) },
    ]),
  );

/** Converts an existing file; returns a value of the embedding and the notes. */
async function converted(options: ConversionOptions = {}): Promise<{ value: number; notes: string[] }> {
  const conversion = await openConversion(path, config, options);
  await conversion.write(out).finally(conversion.close);
  const { weights } = readModelFolder(out);
  const value = (readSafetensors(weights.path).tensors.get(embedding)!.data as Float32Array)[0];
  return { value, notes: conversion.notes };
}

const convert = (tree: unknown, options?: ConversionOptions & { protocol?: number }) => {
  writeFileSync(path, checkpointBytes(tree, options));
  return converted(options);
};

const refused = async (tree: unknown, options?: ConversionOptions): Promise<string> => {
  const error = await convert(tree, options).then(
    () => new Error("it was converted"),
    (reason: Error) => reason,
  );
  expect(error, error.message).toBeInstanceOf(UserError);
  expect(existsSync(out)).toBe(false);
  return error.message.replace(path, "FILE");
};

describe("names", () => {
  it.each([
    ["module.", { model: filled(3, "module.") }],
    ["_orig_mod.", { model: filled(3, "_orig_mod.") }],
    ["_orig_mod.module.", filled(3, "_orig_mod.module.")],
    ["model.", { state_dict: filled(3, "model."), "pytorch-lightning_version": "2.1", epoch: 3 }],
  ])("lose the prefix %s, with a note", async (prefix, tree) => {
    expect(await convert(tree)).toEqual({ value: 3, notes: [`removed the prefix "${prefix}" from the names`] });
  });

  it("without the common prefix are left out and reported", async () => {
    const both = new Map([...filled(3, "model."), ["loss.weight", { shape: [1], bytes: new Uint8Array(4) }]] as const);
    expect((await convert({ state_dict: both })).notes).toEqual([
      'removed the prefix "model." from the names',
      "left out 1 tensors without the prefix, such as loss.weight",
    ]);
  });

  it.each(["model_state_dict", "module", "net"])("are found under %s", async (key) => {
    expect((await convert({ [key]: filled(3), optimizer_state_dict: {} })).value).toBe(3);
  });
});

describe("weights in other places", () => {
  it.each([
    ["state_dict.model", { state_dict: { model: filled(3) } }],
    ["model.state_dict", { model: { state_dict: filled(3) } }],
    ["checkpoint.model", { checkpoint: { model: filled(3), epoch: 2 } }],
    ["generator", { generator: filled(3), discriminator: { "a.weight": filled(4).get(embedding)! } }],
  ])("are found under %s, with a note", async (at, tree) => {
    expect(await convert(tree)).toEqual({ value: 3, notes: [`used the weights under "${at}"`] });
  });

  it.each(["diffusion_model.", "_forward_module.", "model.module._orig_mod."])(
    "lose any prefix: %s",
    async (prefix) => {
      expect(await convert(filled(3, prefix))).toEqual({
        value: 3,
        notes: [`removed the prefix "${prefix}" from the names`],
      });
    },
  );

  it("are said to be ambiguous if several have the same names", async () => {
    expect((await convert({ a: filled(3), b: filled(4) })).notes).toEqual([
      'used the weights under "a"',
      '"b" contains weights with the same names, which were not used',
    ]);
  });

  it("may be doubles, which are rounded", async () => {
    const doubles = parameters.map(({ name, shape }): [string, Stored] => [
      name,
      { type: "Double", shape, bytes: new Uint8Array(new Float64Array(product(shape)).fill(0.1).buffer) },
    ]);
    expect((await convert({ model: new Map(doubles) })).value).toBe(Math.fround(0.1));
  });

  it("may be in the format before PyTorch 1.6", async () => {
    writeFileSync(path, oldCheckpointBytes(Object.fromEntries(filled(3, "module."))));
    expect(await converted()).toEqual({ value: 3, notes: ['removed the prefix "module." from the names'] });
  });

  it("may be in several files with an index", async () => {
    const all = [...filled(3)];
    const half = all.length >> 1;
    writeFileSync(join(dir, "1.bin"), checkpointBytes(Object.fromEntries(all.slice(0, half))));
    writeFileSync(join(dir, "2.bin"), checkpointBytes(Object.fromEntries(all.slice(half))));
    const write = (file: (i: number) => string) => {
      const map = Object.fromEntries(all.map(([name], i) => [name, file(i)]));
      path = join(dir, "pytorch_model.bin.index.json");
      writeFileSync(path, JSON.stringify({ metadata: {}, weight_map: map }));
    };
    write((i) => (i < half ? "1.bin" : "2.bin"));
    expect((await converted()).value).toBe(3);
    rmSync(out, { recursive: true });
    path = dir;
    expect((await converted()).value).toBe(3);
    rmSync(out, { recursive: true });
    write(() => "1.bin");
    await expect(converted()).rejects.toThrow(/1\.bin: it has no tensor ".*", which the index expects in it$/);
    write(() => "../1.bin");
    await expect(converted()).rejects.toThrow(/it names the file "\.\.\/1\.bin", expected files in its own folder$/);
    writeFileSync(path, "[1]");
    await expect(converted()).rejects.toThrow(/not an index of a checkpoint/);
  });
});

describe("moving averages", () => {
  it("are not mixed up with the weights if only a prefix tells them apart", async () => {
    const tree = { state_dict: new Map([...filled(4, "ema_model."), ...filled(3, "model."), ...filled(5, "ema.")]) };
    expect((await convert(tree)).value).toBe(3);
    rmSync(out, { recursive: true });
    const { value } = await convert(tree, { weights: "ema" });
    expect([4, 5]).toContain(value);
  });

  it("are found inside of other objects", async () => {
    const tree = { model: filled(3), ema: { decay: 1, shadow: filled(4) } };
    expect(await convert(tree)).toEqual({
      value: 3,
      notes: ['used the weights under "model"; for the moving average under "ema.shadow", choose the weights "ema"'],
    });
    rmSync(out, { recursive: true });
    expect((await convert(tree, { weights: "ema" })).value).toBe(4);
  });

  const both = { model: filled(3), model_ema: filled(4, "module.") };
  it("are mentioned if there are other weights, and used on request", async () => {
    expect(await convert(both)).toEqual({
      value: 3,
      notes: ['used the weights under "model"; for the moving average under "model_ema", choose the weights "ema"'],
    });
    expect((await convert(both, { weights: "model" })).notes).toEqual([]);
    rmSync(out, { recursive: true });
    expect((await convert(both, { weights: "ema" })).value).toBe(4);
  });

  it("are used and reported if there is nothing else", async () => {
    expect(await convert({ ema: filled(5) })).toEqual({
      value: 5,
      notes: ['used the weights under "ema", a moving average'],
    });
    rmSync(out, { recursive: true });
    expect(await refused({ model: filled(3) }, { weights: "ema" })).toMatch(
      /^FILE: no moving average of the weights found: expected tensors under "model_ema", "ema", .*, but its keys are model$/,
    );
  });
});

describe("other pickled objects", () => {
  const numpyScalar = reduce(
    global("numpy.core.multiarray", "scalar"),
    reduce(global("numpy", "dtype"), text("f8")),
    text("12345678"),
  );
  const others: [string, Buffer][] = [
    ["a NumPy scalar", numpyScalar],
    ["a path", reduce(global("pathlib", "PosixPath"), text("/"), text("x"))],
    [
      "a default dict",
      Buffer.concat([
        reduce(global("collections", "defaultdict"), global("builtins", "list")),
        text("a"),
        int(1),
        Buffer.from("s"),
      ]),
    ],
    ["a device", reduce(global("torch", "device"), text("cpu"))],
    ["a dtype", global("torch", "float32")],
    ["a date", reduce(global("datetime", "datetime"), Buffer.concat([Buffer.from("C\x0a"), Buffer.alloc(10)]))],
    [
      "an own object",
      Buffer.concat([
        global("__main__", "Options"),
        Buffer.from(")\x81}", "latin1"),
        text("a"),
        int(1),
        Buffer.from("sb"),
      ]),
    ],
    [
      "a storage of complex numbers",
      reduce(
        global("torch._utils", "_rebuild_tensor_v2"),
        Buffer.concat([
          Buffer.from("("),
          text("storage"),
          global("torch", "ComplexFloatStorage"),
          text("9"),
          text("cpu"),
          int(1),
          Buffer.from("tQ"),
        ]),
        int(0),
        Buffer.from(")"),
        Buffer.from(")"),
      ),
    ],
  ];
  it.each(others)("%s is accepted next to the weights, and none of its code runs", async (_, other) => {
    expect((await convert({ model: filled(3), args: new Map([["it", other]]) })).value).toBe(3);
  });

  it.each(others.filter(([name]) => name !== "a default dict"))(
    "%s in the place of a weight is refused by its class",
    async (_, other) => {
      const model = new Map<string, unknown>(filled(3));
      model.set(embedding, other);
      expect(await refused({ model })).toMatch(
        /^FILE: class_emb\.weight is an object of the class [\w.]+, which cannot be read, expected a plain tensor$/,
      );
    },
  );

  it("a pickled module is rejected with advice on what to save", async () => {
    const module = Buffer.concat([global("__main__", "Net"), Buffer.from(")\x81}b", "latin1")]);
    expect(await refused(module)).toBe(
      "FILE: it holds an object of the class __main__.Net, which cannot be read, expected a dict of tensors, as saved by torch.save(model.state_dict(), ...)",
    );
  });

  it("protocol 5 is read", async () => {
    expect((await convert({ model: filled(3) }, { protocol: 5 })).value).toBe(3);
  });
});

/** A safetensors file of all parameters with one value each. */
function safetensors(dtype: "F32" | "F16" | "BF16", bits: number): Buffer {
  const bytes = dtype === "F32" ? 4 : 2;
  let end = 0;
  const header = parameters.map(({ name, shape }) => {
    const start = end;
    end += product(shape) * bytes;
    return [name, { dtype, shape, data_offsets: [start, end] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const values = bytes === 4 ? new Uint32Array(end / 4).fill(bits) : new Uint16Array(end / 2).fill(bits);
  return Buffer.concat([length, json, new Uint8Array(values.buffer)]);
}

describe("safetensors", () => {
  it.each([
    ["F32", 0x40400000],
    ["F16", 0x4200],
    ["BF16", 0x4040],
  ] as const)("%s is converted, whatever the file is called", async (dtype, bits) => {
    writeFileSync(path, safetensors(dtype, bits));
    expect(await converted()).toEqual({ value: 3, notes: [] });
  });

  it.each([
    ["F16", 0x4200],
    ["BF16", 0x4040],
  ] as const)("%s weights in a model folder are used as they are", async (dtype, bits) => {
    await writeModelFolder(
      out,
      config,
      new Map(parameters.map(({ name, shape }) => [name, new Float32Array(product(shape))])),
    );
    const draw = async () => {
      const sampler = createSampler(await nodeEngine({ threads: 1 }), externalModel(readModelFolder(out)));
      const frames = sampler.sample({ labels: [0], seed: 1 });
      for (;;) {
        const { done, value } = await frames.next();
        if (done) return sampler.dispose().then(() => value);
      }
    };
    writeFileSync(join(out, "model.safetensors"), safetensors("F32", 0x40400000));
    const expected = await draw();
    writeFileSync(join(out, "model.safetensors"), safetensors(dtype, bits));
    expect(await draw()).toEqual(expected);
  });
});

describe("weights that are not finite", () => {
  it.each([NaN, Infinity, -Infinity])("(%d) are rejected by name, and nothing is written", async (value) => {
    const model = filled(3);
    const { shape } = model.get(embedding)!;
    const values = new Float32Array(product(shape)).fill(1);
    values[2] = value;
    model.set(embedding, { shape, bytes: new Uint8Array(values.buffer) });
    expect(await refused({ model })).toBe(
      `FILE: class_emb.weight contains ${value}, expected finite numbers; the training diverged, so use an earlier checkpoint`,
    );
    expect(readdirSync(dir)).toEqual(["x.pth"]);
  });

  it("are detected in a model folder before sampling", async () => {
    const weights = new Map(parameters.map(({ name, shape }) => [name, new Float32Array(product(shape))]));
    await writeModelFolder(out, config, weights);
    expect(() => checkWeights(readModelFolder(out))).not.toThrow();
    weights.get("fake_latent")![1] = NaN;
    await writeModelFolder(out, config, weights);
    expect(() => checkWeights(readModelFolder(out))).toThrow(
      /model\.safetensors: fake_latent contains NaN, expected finite numbers/,
    );
  });
});
