/** Dropout masks: sufficiently random, reproducible, and the same in the forward and backward pass. */

import { describe, expect, it } from "vitest";
import { float32, int32 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import * as g from "./build.ts";
import type { Form } from "./form.ts";
import { gradients } from "./gradient.ts";
import { writeOnnx } from "./onnx.ts";

const engine = await nodeEngine();
const [rows, columns] = [256, 256];
const count = rows * columns;
const ones = float32(new Float32Array(count).fill(1), [rows, columns]);

/** The masks of some salts for each seed, as 1 (kept) and 0. */
async function masksOf(
  form: Form,
  { rate, seeds, salts }: { rate: number; seeds: number[]; salts: number[] },
): Promise<Float32Array[]> {
  const seed = g.input("seed", "int32", []);
  const x = g.input("x", "float32", ["R", columns]);
  const outputs = Object.fromEntries(salts.map((salt) => [`mask ${salt}`, g.dropout(x, rate, { seed, salt })]));
  const session = await engine.session(writeOnnx(outputs, form));
  const found: Float32Array[] = [];
  for (const value of seeds) {
    const results = await session.run({ x: ones, seed: int32([value], []) });
    for (const salt of salts)
      found.push((results[`mask ${salt}`].data as Float32Array).map((kept) => kept * (1 - rate)));
  }
  await session.dispose();
  return found;
}

/** The correlation of two masks, the second shifted by `shift` places; its standard deviation is 1 / sqrt(count). */
function correlation(a: Float32Array, b: Float32Array, shift: number, keep: number): number {
  let sum = 0;
  for (let i = 0; i < count - shift; i++) sum += (a[i] - keep) * (b[i + shift] - keep);
  return sum / (count - shift) / (keep * (1 - keep));
}

const negligible = 4.5 / Math.sqrt(count);
const shifts = [0, 1, 2, 3, 4, 8, 16, 64, columns - 1, columns, columns + 1, 2 * columns];

describe.each<[string, Form]>([
  ["", {}],
  [" for WebGPU", { webgpu: true }],
])("dropout%s", (_, form) => {
  const masks = (rate: number, seeds: number[], salts: number[]) => masksOf(form, { rate, seeds, salts });

  it.each([0.05, 0.1, 0.5, 0.9])("at rate %f drops that share and scales the rest", async (rate) => {
    const seed = g.input("seed", "int32", []);
    const session = await engine.session(
      writeOnnx({ y: g.dropout(g.input("x", "float32", [rows, columns]), rate, { seed, salt: 3 }) }, form),
    );
    for (const value of [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)]) {
      const y = (await session.run({ x: ones, seed: int32([value], []) })).y.data as Float32Array;
      const kept = y.filter((one) => one !== 0);
      expect(new Set(kept)).toEqual(new Set([Math.fround(1 / (1 - rate))]));
      expect(Math.abs(kept.length / count - (1 - rate)), `seed ${value}`).toBeLessThan(
        4.5 * Math.sqrt((rate * (1 - rate)) / count),
      );
    }
    await session.dispose();
  });

  it("drops values equally often in every row and column", async () => {
    for (const mask of await masks(0.5, [1, 2], [0, 1])) {
      for (const at of [
        (row: number, i: number) => row * columns + i,
        (column: number, i: number) => i * columns + column,
      ]) {
        const sums = Float64Array.from({ length: rows }, (_, line) =>
          Float64Array.from({ length: rows }, (_, i) => mask[at(line, i)]).reduce((a, b) => a + b),
        );
        const chiSquare = sums.reduce((total, sum) => total + (sum - rows / 2) ** 2 / (rows / 4), 0);
        expect(Math.abs(chiSquare - rows) / Math.sqrt(2 * rows)).toBeLessThan(4.5);
      }
    }
  });

  it("has masks without a pattern, independent of those of other seeds and salts", async () => {
    // Seeds that differ by 1 and by 7919, as for micro-batches; salts that differ by 1, as for layers.
    const found = await masks(0.5, [5, 6, 7, 5 + 7919], [0, 1, 2]);
    for (const [i, a] of found.entries())
      for (const [j, b] of found.entries())
        for (const shift of shifts)
          if (i !== j || shift > 0)
            expect(Math.abs(correlation(a, b, shift, 0.5)), `${i} ${j} ${shift}`).toBeLessThan(negligible);
  });

  it("has no pattern at low rates either", async () => {
    const found = await masks(0.1, [0, 1], [0, 7]);
    for (const [i, a] of found.entries())
      for (const [j, b] of found.entries())
        for (const shift of shifts)
          if (i !== j || shift > 0)
            expect(Math.abs(correlation(a, b, shift, 0.9)), `${i} ${j} ${shift}`).toBeLessThan(negligible);
  });

  it("depends only on seed and salt, not on x", async () => {
    const [one] = await masks(0.3, [9], [4]);
    const [again] = await masks(0.3, [9], [4]);
    expect(again).toEqual(one);
    const seed = g.input("seed", "int32", []);
    const session = await engine.session(
      writeOnnx({ y: g.dropout(g.input("x", "float32", [rows, columns]), 0.3, { seed, salt: 4 }) }, form),
    );
    const { y } = await session.run({
      x: float32(new Float32Array(count).fill(-7), [rows, columns]),
      seed: int32([9], []),
    });
    await session.dispose();
    expect((y.data as Float32Array).map((value) => Number(value !== 0))).toEqual(one.map((kept) => Number(kept > 0.5)));
  });

  it("continues from the given first position, so that rows can be split into parts", async () => {
    const x = g.input("x", "float32", ["R", columns]);
    const [seed, start] = [g.input("seed", "int32", []), g.input("start", "int32", [])];
    const session = await engine.session(writeOnnx({ y: g.dropout(x, 0.5, { seed, salt: 1, start }) }, form));
    const run = async (from: number, to: number) => {
      const data = ones.data.slice(from * columns, to * columns);
      const x = float32(data, [to - from, columns]);
      const { y } = await session.run({ x, seed: int32([4], []), start: int32([from * columns], []) });
      return [...(y.data as Float32Array)];
    };
    expect([...(await run(0, 100)), ...(await run(100, rows))]).toEqual(await run(0, rows));
    await session.dispose();
  });

  it("passes gradients where it passed values, with the same scale", async () => {
    const x = g.input("x", "float32", [rows, columns]);
    const seed = g.input("seed", "int32", []);
    const y = g.dropout(x, 0.25, { seed, salt: 2 });
    const twice = g.dropout(g.mul(y, 3), 0.5, { seed, salt: 3 });
    const [dx] = gradients(g.sum(twice, [0, 1]), [x]);
    const session = await engine.session(writeOnnx({ twice, dx }, form));
    const results = await session.run({ x: ones, seed: int32([11], []) });
    await session.dispose();
    // All x are 1 and the function is linear, so the gradient is the result itself.
    expect(results.dx.data).toEqual(results.twice.data);
    const kept = (results.dx.data as Float32Array).filter((value) => value !== 0);
    expect(Math.abs(kept.length / count - 0.375)).toBeLessThan(4.5 * Math.sqrt((0.375 * 0.625) / count));
    expect(kept.every((value) => Math.abs(value - 8) < 1e-5)).toBe(true); // 3 / 0.75 / 0.5
  });

  it("uses operators on bits only where they exist", () => {
    const y = g.dropout(g.input("x", "float32", [2]), 0.5, { seed: g.input("seed", "int32", []), salt: 0 });
    const text = Buffer.from(writeOnnx({ y }, form).bytes).toString("latin1");
    for (const type of ["BitShift", "BitwiseXor"]) expect(text.includes(type), type).toBe(!form.webgpu);
  });

  it("adds no node at rate 0", () => {
    const x = g.input("x", "float32", [2]);
    expect(g.dropout(x, 0, { seed: g.input("seed", "int32", []), salt: 0 })).toBe(x);
  });
});
