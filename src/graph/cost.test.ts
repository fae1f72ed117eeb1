/** Operation counts compared with counts by hand. */

import { expect, it } from "vitest";
import {
  add,
  embedding,
  exp,
  input,
  linear,
  loop,
  loopIndex,
  matmul,
  parameter,
  reshape,
  rowsBetween,
  sum,
} from "./build.ts";
import { boundSizes, floatingPointOperations, leastBytes, peakBytes, sizeOf } from "./cost.ts";

it("evaluates symbolic sizes", () => {
  const sizes = new Map([
    ["R", 3],
    ["P", 4],
  ]);
  expect(sizeOf("2*R", sizes)).toBe(6);
  expect(sizeOf("P+1", sizes)).toBe(5);
  expect(sizeOf("8*P*R", sizes)).toBe(96);
  expect(sizeOf("2*(P+1)*R", sizes)).toBe(30);
  expect(sizeOf("2*(P+1)+R", sizes)).toBe(13);
  expect(() => sizeOf("Q", sizes)).toThrow("Q");
});

it("counts products and layers", () => {
  const x = input("x", "float32", ["2*R", 4]);
  const y = linear(x, parameter("w", [5, 4])); // 2 R rows, 4 in, 5 out
  const z = matmul(y, y, { transA: true }); // 5 x 2R x 5
  const sizes = boundSizes({ z }, { x: [6, 4] });
  expect(sizes.get("R")).toBe(3);
  expect(floatingPointOperations({ z }, sizes)).toBe(2 * 6 * 4 * 5 + 2 * 5 * 6 * 5);
});

it("counts the rounds of a loop", () => {
  const round = loopIndex();
  const rows = rowsBetween(input("x", "float32", ["N", 4]), input("bounds", "int64", ["bounds"]), {
    index: round,
    rows: "K",
  });
  const value = matmul(rows, rows, { transA: true }); // 4 x K x 4, K = N / rounds
  const total = loop(input("count", "int64", []), round, { sum: value }).sum;
  const sizes = new Map([
    ["N", 30],
    ["rounds", 5],
  ]);
  expect(floatingPointOperations({ total }, sizes)).toBe(5 * 2 * 4 * 4 * 6);
});

it("adds up the values that are alive at the same time", () => {
  const x = input("x", "float32", ["B", 10]);
  const [a, b, c] = [exp(x), exp(exp(x)), reshape(exp(exp(exp(x))), [10, "B"])];
  const sizes = new Map([["B", 5]]);
  expect(peakBytes({ a }, sizes)).toBe(200);
  expect(peakBytes({ b }, sizes)).toBe(400); // exp(x) is freed after exp(exp(x)) is computed
  expect(peakBytes({ c }, sizes)).toBe(400);
  expect(peakBytes({ a, b, c }, sizes)).toBe(200 + 200 + 400);
  expect(peakBytes({ s: sum(b, [0, 1]) }, sizes)).toBe(400);
});

it("counts inputs, outputs and weights once, and no embedding tables", () => {
  const x = input("x", "float32", ["B", 4]);
  const weight = parameter("w", [3, 4]);
  const places = embedding(parameter("places", [100, 3]), input("at", "int32", [1]));
  const y = add(add(linear(x, weight), linear(x, weight)), places);
  const stored = (name: string) => (name === "w" ? 12 : 1e6);
  expect(leastBytes({ y }, new Map([["B", 5]]), stored)).toEqual({ values: 4 * (5 * 4 + 1 + 5 * 3), weights: 12 });
});
