/**
 * Names, shapes and order compared with the published state dicts, and initial values with the published initialisers.
 */

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { configOfCase } from "../config/published-case.ts";
import { derive, seedKey } from "../core/random.ts";
import { openCheckpoint } from "../files/checkpoint.ts";
import { modelTensors } from "../files/state-dict.ts";
import { readJson } from "../files/model.ts";
import { swigluWidth } from "../layers/llama.ts";
import { decays, modelParameters, startingValue } from "./parameters.ts";

const fixture = (name: string, file: string) =>
  fileURLToPath(new URL(`../../fixtures/parity/${name}/${file}`, import.meta.url));
const cases = ["ar-3level", "mar-3level", "mar-4level-guided"];
const configOf = (name: string) => configOfCase(readJson(fixture(name, "case.json")), name);

describe.each(cases)("%s", (name) => {
  const parameters = modelParameters(configOf(name));

  it("has the checkpoint's names and shapes, in its order", async () => {
    const checkpoint = await openCheckpoint(fixture(name, "checkpoint-last.pth"));
    const published = [...modelTensors(checkpoint)].map(([key, { shape }]) => ({ name: key, shape: [...shape] }));
    await checkpoint.close();
    expect(published.length).toBeGreaterThan(50);
    expect(parameters.map((parameter) => ({ name: parameter.name, shape: parameter.shape }))).toEqual(published);
  });

  it("has the number of values given in case.json", () => {
    const { parameters: count } = readJson(fixture(name, "case.json")) as { parameters: number };
    expect(parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)).toBe(count);
  });

  it("applies weight decay to the first group of the published optimiser", async () => {
    const checkpoint = await openCheckpoint(fixture(name, "checkpoint-last.pth"));
    await checkpoint.close();
    const optimizer = (checkpoint.value as Map<string, unknown>).get("optimizer");
    const groups = (optimizer as Map<string, Map<string, unknown>[]> | undefined)?.get("param_groups") ?? [];
    const sizes = new Map(
      groups.map((group) => [Number(group.get("weight_decay")), (group.get("params") as unknown[]).length]),
    );
    const decayed = parameters.filter(decays).length;
    expect(sizes).toEqual(
      new Map([
        [0, parameters.length - decayed],
        [0.05, decayed],
      ]),
    );
  });
});

describe("initial values", () => {
  const parameters = cases.flatMap((name) => modelParameters(configOf(name)));
  const values = parameters.map((parameter, i) => ({
    ...parameter,
    value: startingValue(parameter, derive(seedKey(1), i)),
  }));
  const published = { codebook: "normal", residual: "xavier" } as Record<string, string>;
  const of = (start: string) => values.filter((one) => (published[one.start] ?? one.start) === start);
  const mean = (value: Float32Array) => value.reduce((a, b) => a + b, 0) / value.length;
  const deviation = (value: Float32Array) => Math.sqrt(mean(value.map((x) => x * x)) - mean(value) ** 2);

  it("are ones for scales, zeros for biases, and random otherwise", () => {
    for (const { name, start } of values) {
      const expected = /norm\d?\.weight$|(^|\.|_)(ln|norm)\.weight$/.test(name)
        ? "ones"
        : name.endsWith(".bias")
          ? "zeros"
          : undefined;
      if (expected) expect(start, name).toBe(expected);
      else
        expect(published[start] ?? start, name).toBe(
          /codebook|class_emb|fake_latent|mask_token|pos_embed/.test(name) ? "normal" : "xavier",
        );
    }
    for (const { value } of of("ones")) expect(value.every((x) => x === 1)).toBe(true);
    for (const { value } of of("zeros")) expect(value.every((x) => x === 0)).toBe(true);
  });

  it("normal: mean 0 and standard deviation 0.02", () => {
    expect(of("normal").length).toBeGreaterThan(20);
    for (const { name, value } of of("normal")) {
      const error = 5 * (0.02 / Math.sqrt(value.length)); // five standard errors
      expect(Math.abs(mean(value)), name).toBeLessThan(error);
      expect(Math.abs(deviation(value) - 0.02), name).toBeLessThan(error);
    }
    // It has tails, unlike a uniform distribution of the same standard deviation, which ends at 1.73 of them.
    const all = of("normal").flatMap(({ value }) => [...value]);
    const share = all.filter((x) => Math.abs(x) > 0.04).length / all.length;
    expect(share).toBeGreaterThan(0.04);
    expect(share).toBeLessThan(0.05); // 4.55 % of a normal distribution
  });

  it("xavier: uniform within sqrt(6 / (in + out)), filling it", () => {
    expect(of("xavier").length).toBeGreaterThan(100);
    for (const { name, shape, value } of of("xavier")) {
      const bound = Math.sqrt(6 / (shape[0] + shape[1]));
      const largest = value.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      expect(largest, name).toBeLessThanOrEqual(bound);
      expect(largest, name).toBeGreaterThan(0.9 * bound);
      expect(Math.abs(mean(value)), name).toBeLessThan((5 * bound) / Math.sqrt(3 * value.length));
      expect(Math.abs(deviation(value) / (bound / Math.sqrt(3)) - 1), name).toBeLessThan(5 / Math.sqrt(value.length));
    }
  });

  it("depend only on the key", () => {
    for (const parameter of parameters.slice(0, 12)) {
      const value = startingValue(parameter, seedKey(3));
      expect(startingValue(parameter, seedKey(3))).toEqual(value);
      if (parameter.start === "normal" || parameter.start === "xavier")
        expect(startingValue(parameter, seedKey(4))).not.toEqual(value);
    }
  });
});

describe("initial values that differ from the published ones", () => {
  const find = (name: string) => modelParameters(configOf("mar-3level")).find((one) => one.name.endsWith(name))!;

  it("cosine codebooks: rows of neighbouring values are similar, and the mean norm of a row is 0.6", () => {
    const { shape, ...codebook } = find("r_codebook.weight");
    const width = shape[1];
    const table = startingValue({ shape, ...codebook }, seedKey(2), { codebookStart: "cosine" });
    const row = (v: number) => table.subarray(v * width, (v + 1) * width);
    const distance = (a: number, b: number) => Math.hypot(...row(a).map((x, i) => x - row(b)[i]));
    const norms = Array.from({ length: 256 }, (_, v) => Math.hypot(...row(v)));
    expect(norms.reduce((a, b) => a + b, 0) / 256).toBeCloseTo(0.6, 5);
    for (const v of [0, 100, 200]) {
      expect(distance(v, v + 1)).toBeLessThan(distance(v, v + 10));
      expect(distance(v, v + 10)).toBeLessThan(distance(v, v + 50));
    }
    expect(table).not.toEqual(startingValue({ shape, ...codebook }, seedKey(3), { codebookStart: "cosine" }));
  });

  it("only the last matrix of a residual branch can start at zero", () => {
    const zero = modelParameters(configOf("ar-3level")).filter((one) =>
      startingValue(one, seedKey(2), { residualStart: "zero" }).every((x) => x === 0),
    );
    const matrices = zero.filter(({ shape }) => shape.length === 2 && shape[0] > 1).map(({ name }) => name);
    expect(matrices.length).toBeGreaterThan(5);
    for (const name of matrices) expect(name).toMatch(/(wo|w2|attn\.proj|fc2)\.weight$/);
  });
});

it("the SwiGLU width is two thirds of 4 d, rounded up to a multiple of 256", () => {
  // 1024: 2730.7 -> 2816, as in the published AR model; 96: exactly 256; 97: 258.7 -> 512
  expect([48, 96, 97, 192, 512, 768, 1024].map(swigluWidth)).toEqual([256, 256, 512, 512, 1536, 2048, 2816]);
});

it("models with other than three channels have one codebook per channel", () => {
  const named = (channels: number) => {
    const levels = [
      { kind: "ar", patch: 1, width: 8, depth: 1, heads: 2 },
      { kind: "pixel", width: 8, depth: 1, heads: 2 },
    ];
    const config = parseModelConfig({ imageSize: 4, channels, classes: ["a"], levels }, "test");
    return modelParameters(config).flatMap(({ name }) => /(\w)_codebook/.exec(name)?.[1] ?? []);
  };
  expect([1, 2, 3, 4].map(named)).toEqual([["l"], ["l", "a"], ["r", "g", "b"], ["r", "g", "b", "a"]]);
});
