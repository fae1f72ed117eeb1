/** Muon compared with its definition, computed in float64 by plain loops. */

import { describe, expect, it } from "vitest";
import { parseTrainingConfig } from "../config/training.ts";
import { derive, normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { modelParameters, muonMatrices, type Parameter } from "../model/parameters.ts";
import { openMuon } from "./muon.ts";
import { momentsOf } from "./optimizer.ts";
import { tinyModel } from "./tiny.ts";

type Matrix = number[][];

const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0].map((_, j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0)));
const transposed = (a: Matrix): Matrix => a[0].map((_, j) => a.map((row) => row[j]));
const combined = (p: number, a: Matrix, q: number, b: Matrix): Matrix =>
  a.map((row, i) => row.map((x, j) => p * x + q * b[i][j]));

/** Newton-Schulz iterations as published: on the matrix or its transpose, whichever has fewer rows. */
function orthogonal(matrix: Matrix): Matrix {
  const tall = matrix.length > matrix[0].length;
  const given = tall ? transposed(matrix) : matrix;
  const norm = Math.hypot(...given.flat());
  let x = given.map((row) => row.map((value) => value / (norm + 1e-7)));
  for (let round = 0; round < 5; round++) {
    const gram = product(x, transposed(x));
    const b = combined(-4.775, gram, 2.0315, product(gram, gram));
    x = combined(3.4445, x, 1, product(b, x));
  }
  return tall ? transposed(x) : x;
}

const parameter = (name: string, shape: number[]): Parameter => ({
  name,
  shape,
  start: "xavier",
  matrices: name.includes("qkv") ? 3 : 1,
  block: true,
  level: 0,
  owner: "level",
});
const random = ({ shape }: Parameter, seed: number) =>
  Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => normal(seedKey(seed), i));

describe("a step of Muon", () => {
  const parameters = [
    parameter("blocks.0.attn.proj.weight", [6, 6]),
    parameter("blocks.1.attn.proj.weight", [6, 6]), // the same shape: one batch
    parameter("blocks.0.mlp.fc1.weight", [10, 4]), // tall
    parameter("blocks.0.mlp.fc2.weight", [4, 10]), // wide
    parameter("blocks.0.attn.qkv.weight", [12, 4]), // three matrices
  ];
  const training = parseTrainingConfig({ optimizer: "muon", weightDecay: 0.1 }, "the test");

  it("matches its definition after two steps, with clipping and weight decay", async () => {
    const values = new Map(parameters.map((one, i) => [one.name, random(one, i)]));
    const expected = new Map([...values].map(([name, value]) => [name, [...value]]));
    const moments = new Map(
      parameters.map((one) => [
        one.name,
        momentsOf(one, training, () => new Float32Array(one.shape[0] * one.shape[1])),
      ]),
    );
    const muon = await openMuon(await nodeEngine({ threads: 1 }), parameters, training);
    const momentum = new Map<string, number[]>();
    for (const step of [0, 1]) {
      const gradients = new Map(parameters.map((one, i) => [one.name, random(one, 100 * (step + 1) + i)]));
      await muon.update({ values, moments }, gradients, { learningRate: 0.02, scale: 0.5 });
      for (const { name, shape } of parameters) {
        const before = momentum.get(name) ?? Array.from<number>({ length: shape[0] * shape[1] }).fill(0);
        const clipped = [...gradients.get(name)!].map((x) => 0.5 * x);
        const now = before.map((m, i) => 0.95 * m + 0.05 * clipped[i]);
        momentum.set(name, now);
        const nesterov = now.map((m, i) => 0.95 * m + 0.05 * clipped[i]);
        const parts = name.includes("qkv") ? 3 : 1;
        const rows = shape[0] / parts;
        for (let part = 0; part < parts; part++) {
          const at = (i: number, j: number) => (part * rows + i) * shape[1] + j;
          const matrix = Array.from({ length: rows }, (_, i) =>
            Array.from({ length: shape[1] }, (_, j) => nesterov[at(i, j)]),
          );
          const update = orthogonal(matrix);
          const value = expected.get(name)!;
          const rate = 0.02 * 0.2 * Math.sqrt(Math.max(rows, shape[1]));
          for (let i = 0; i < rows; i++)
            for (let j = 0; j < shape[1]; j++)
              value[at(i, j)] = value[at(i, j)] * (1 - 0.02 * 0.1) - rate * update[i][j];
        }
      }
    }
    await muon.dispose();
    for (const [name, value] of values) {
      const difference = Math.max(...value.map((x, i) => Math.abs(x - expected.get(name)![i])));
      expect(difference, name).toBeLessThan(1e-5);
    }
  });

  it("brings singular values near 1, and leaves a matrix with zero gradient unchanged", async () => {
    const one = parameter("blocks.0.attn.proj.weight", [8, 8]);
    const muon = await openMuon(await nodeEngine({ threads: 1 }), [one], { ...training, weightDecay: 0 });
    const moments = new Map([[one.name, momentsOf(one, training, () => new Float32Array(64))]]);
    const values = new Map([[one.name, new Float32Array(64)]]);
    await muon.update({ values, moments }, new Map([[one.name, new Float32Array(64)]]), { learningRate: 1, scale: 1 });
    expect(values.get(one.name)!.every((x) => x === 0)).toBe(true);
    const gradient = Float32Array.from({ length: 64 }, (_, i) => normal(derive(seedKey(1), 2), i));
    await muon.update({ values, moments }, new Map([[one.name, gradient]]), { learningRate: 1, scale: 1 });
    await muon.dispose();
    const update = Array.from({ length: 8 }, (_, i) =>
      Array.from(values.get(one.name)!.subarray(8 * i, 8 * i + 8), (x) => x / (0.2 * Math.sqrt(8))),
    );
    const gram = product(update, transposed(update));
    // The trace is the sum of the squared singular values, each between 0.6^2 and 1.3^2.
    const trace = gram.reduce((sum, row, i) => sum + row[i], 0);
    expect(trace).toBeGreaterThan(8 * 0.36);
    expect(trace).toBeLessThan(8 * 1.69);
  });
});

it("updates the matrices inside blocks, and keeps one moment for each", () => {
  const taken = modelParameters(tinyModel({ guidingPixel: true })).filter((one) => muonMatrices(one) > 0);
  expect(taken.length).toBeGreaterThan(0);
  for (const { name, shape } of taken) {
    expect(name).toMatch(/blocks\.\d+\..*\.weight$/);
    expect(shape.length).toBe(2);
  }
  const zeros = () => new Float32Array(4);
  expect(momentsOf(taken[0], { optimizer: "muon" }, zeros).second).toBeUndefined();
  expect(momentsOf(taken[0], { optimizer: "adamw" }, zeros).second).toBeDefined();
});
