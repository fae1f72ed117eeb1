/** Quantised models: arithmetic checked against plain loops, sampling from folders, and rejected input. */

import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { float32, product } from "../core/arrays.ts";
import { fromHalf, toHalf } from "../core/half.ts";
import { derive, normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { input, linear, parameter, slice } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { isQuantized, quantize, storedTensors } from "../model/quantize.ts";
import { modelParameters, startingValue } from "../model/parameters.ts";
import { createSampler } from "../sample/sampler.ts";
import { externalModel } from "./external.ts";
import { type ModelFolder, readModelFolder, writeModelFolder } from "./model.ts";
import { quantizeFolder } from "./quantize.ts";
import { readSafetensorsHeader, readTensor, writeSafetensors } from "./safetensors.ts";

const engine = await nodeEngine({ threads: 1 });
let folder = "";
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-quantize-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const draws = (seed: number, shape: number[]): Float32Array =>
  Float32Array.from({ length: product(shape) }, (_, i) => normal(seedKey(seed), i));

describe("a linear layer", () => {
  const [rows, inputs, outputs] = [5, 64, 24];
  const weight = draws(1, [outputs, inputs]);
  const x = draws(2, [rows, inputs]);
  x.fill(0, 2 * inputs, 3 * inputs); // a row of zeros

  /** The layer, and only its rows 8 to 24 applied to a three-dimensional x, with a quantised weight. */
  async function run(dtype: "q8" | "q4", given: Float32Array) {
    const { data, scale } = quantize(weight, [outputs, inputs], dtype);
    const path = at(`${dtype}.safetensors`);
    await writeSafetensors(path, [
      ["w", data],
      ["s", scale],
    ]);
    const { tensors } = readSafetensorsHeader(path);
    const range = (name: string) => ({ file: `${dtype}.safetensors`, ...tensors.get(name)! });
    const w = parameter("w", [outputs, inputs]);
    const count = given.length / inputs;
    const y = linear(input("x", "float32", ["R", inputs]), w);
    const part = linear(input("x3", "float32", [1, "R", inputs]), slice(w, 0, 8, 24));
    const weights = () => ({ ...range("w"), quantized: { dtype, shape: data.shape, scale: range("s") } });
    const session = await engine.session(writeOnnx({ y, part }, { weights }), { folder });
    const feeds = { x: float32(given, [count, inputs]), x3: float32(given, [1, count, inputs]) };
    const results = await session.run(feeds);
    await session.dispose();
    expect(results.part.shape).toEqual([1, count, 16]);
    return { data, scale, y: results.y.data as Float32Array, part: results.part.data as Float32Array };
  }

  it("in eight bits multiplies integers exactly, each row scaled by its own largest value", async () => {
    const { data, scale, y, part } = await run("q8", x);
    const halfToEven = (v: number) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
    for (let row = 0; row < rows; row++) {
      const values = x.subarray(row * inputs, (row + 1) * inputs);
      const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      const byRow = Math.fround(most * Math.fround(1 / 127));
      for (let d = 0; d < outputs; d++) {
        let sum = 0;
        if (most > 0)
          values.forEach((v, e) => (sum += halfToEven(Math.fround(v / byRow)) * Number(data.data[e * outputs + d])));
        const expected = Math.fround(Math.fround(sum * Number(scale.data[d])) * byRow);
        // 0 + y: a row of zeros may give 0 of either sign
        expect(0 + y[row * outputs + d]).toBe(0 + expected);
        if (d >= 8) expect(0 + part[row * 16 + d - 8]).toBe(0 + expected);
      }
    }
    expect([...y.subarray(2 * outputs, 3 * outputs)].every((v) => v === 0)).toBe(true);
  });

  it.each(["q8", "q4"] as const)("in %s a row does not depend on the others, and is near the truth", async (dtype) => {
    const all = await run(dtype, x);
    let [error, size] = [0, 0];
    for (let row = 0; row < rows; row++) {
      const alone = await run(dtype, x.slice(row * inputs, (row + 1) * inputs));
      expect(alone.y).toEqual(all.y.slice(row * outputs, (row + 1) * outputs));
      for (let d = 0; d < outputs; d++) {
        let exact = 0;
        for (let e = 0; e < inputs; e++) exact += x[row * inputs + e] * weight[d * inputs + e];
        error += (exact - all.y[row * outputs + d]) ** 2;
        size += exact ** 2;
        if (d >= 8) expect(all.part[row * 16 + d - 8]).toBe(all.y[row * outputs + d]);
      }
    }
    expect(Math.sqrt(error / size)).toBeLessThan(dtype === "q8" ? 0.012 : 0.15);
    expect(Math.sqrt(error / size)).toBeGreaterThan(0.001);
  });
});

describe.each(["mar", "ar"] as const)("a %s model", (kind) => {
  const small = { width: 32, depth: 2, heads: 2 };
  const config = parseModelConfig(
    {
      imageSize: 8,
      classes: ["a", "b"],
      levels: [
        { kind, patch: 4, ...small },
        { kind, patch: 1, ...small },
        { kind: "pixel", width: 16, depth: 1, heads: 2 },
      ],
    },
    "the test",
  );
  const values = new Map(
    modelParameters(config).map((one, i) => [one.name, startingValue(one, derive(seedKey(4), i))]),
  );

  it.each(["q8", "q4"] as const)(
    "in %s is a model folder, and its images do not depend on the batch",
    async (dtype) => {
      await writeModelFolder(at(kind), config, values);
      const out = at(`${kind}-${dtype}`);
      await quantizeFolder(readModelFolder(at(kind)), out, { dtype });
      const model = readModelFolder(out);
      expect(model.config).toEqual({ ...config, dtype });
      expect([...model.weights.tensors.keys()].sort()).toEqual(storedTensors(model.config).map(({ name }) => name).sort()); // prettier-ignore
      expect(modelParameters(config).some(isQuantized)).toBe(true);
      expect(await images(model, 1)).toEqual(await images(model, 3));
    },
  );

  it("in sixteen bits has half the size, and draws the same as its rounded weights in float32", async () => {
    await writeModelFolder(at(kind), config, values);
    const half = at(`${kind}-float16`);
    await quantizeFolder(readModelFolder(at(kind)), half, { dtype: "float16" });
    const model = readModelFolder(half);
    expect(model.config).toEqual(config);
    const [bytes, before] = [half, at(kind)].map((of) => statSync(join(of, "model.safetensors")).size);
    expect(bytes / before).toBeLessThan(0.55);
    const rounded = new Map([...values].map(([name, value]) => [name, fromHalf(toHalf(value))]));
    for (const [name, value] of rounded) expect(readTensor(model.weights, name).data).toEqual(value);
    await writeModelFolder(at(`${kind}-rounded`), config, rounded);
    expect(await images(model, 2)).toEqual(await images(readModelFolder(at(`${kind}-rounded`)), 2));
    await expect(quantizeFolder(model, at("again"), { dtype: "float16" })).rejects.toThrow(
      /already has 16-bit weights/,
    );
  });

  it("refuses weights beyond the range of sixteen bits by name", async () => {
    const [name, first] = [...values][0];
    const large = first.slice();
    large[0] = 1e5;
    await writeModelFolder(at("large"), config, new Map([...values, [name, large]]));
    await expect(quantizeFolder(readModelFolder(at("large")), at("small"), { dtype: "float16" })).rejects.toThrow(
      new RegExp(`${name} has values beyond 65504`),
    );
    expect(existsSync(at("small"))).toBe(false);
  });
});

async function images(model: ModelFolder, batch: number): Promise<Uint8Array> {
  const sampler = createSampler(engine, externalModel(model));
  try {
    const frames = sampler.sample({ labels: [0, 1, 1], seed: 3, batch, guidance: 2 });
    for (;;) {
      const { done, value } = await frames.next();
      if (done) return value;
    }
  } finally {
    await sampler.dispose();
  }
}

it("rejects a quantised model, and one that does not fit its configuration", async () => {
  await expect(quantizeFolder(readModelFolder(at("mar-q8")), at("twice"), { dtype: "q8" })).rejects.toThrow(
    /is already q8; quantise the original float32 model/,
  );
  expect(existsSync(at("twice"))).toBe(false);
  const config = JSON.parse(readFileSync(at("mar-q8/config.json"), "utf8"));
  writeFileSync(at("mar-q8/config.json"), JSON.stringify({ ...config, dtype: "q4" }));
  expect(() => readModelFolder(at("mar-q8"))).toThrow(/attn.qkv.weight is int8, expected uint8/);
});
