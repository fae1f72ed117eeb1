/** Factors and eigenvalues of matrices made from known ones. */

import { describe, expect, it } from "vitest";
import { normal, seedKey } from "../core/random.ts";
import { eigenvalues, factor } from "./metrics-eigenvalues.ts";

/** Q diag(values) Qᵀ, with Q a product of reflections. */
function withEigenvalues(values: readonly number[], seed: number): Float64Array {
  const n = values.length;
  const a = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? values[i / (n + 1)] : 0));
  for (let turn = 0; turn < 3; turn++) {
    const v = Float64Array.from({ length: n }, (_, i) => normal(seedKey(seed + turn), i));
    const squares = v.reduce((sum, x) => sum + x * x, 0);
    for (const [step, other] of [
      [n, 1],
      [1, n],
    ])
      for (let row = 0; row < n; row++) {
        let along = 0;
        for (let i = 0; i < n; i++) along += v[i] * a[row * other + i * step];
        for (let i = 0; i < n; i++) a[row * other + i * step] -= (2 * along * v[i]) / squares;
      }
  }
  return a;
}

const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b);

function expectEigenvalues(found: Float64Array, right: readonly number[]): void {
  const largest = Math.max(...right.map(Math.abs), 1e-300);
  sorted(found).forEach((value, i) => expect(Math.abs(value - sorted(right)[i]) / largest).toBeLessThan(1e-13));
}

describe("eigenvalues", () => {
  it.each([
    ["of one", [3]],
    ["of two", [-1, 4]],
    ["spread over twelve orders", Array.from({ length: 60 }, (_, i) => 10 ** (-i / 5))],
    ["of both signs", Array.from({ length: 41 }, (_, i) => i - 20)],
    ["that are equal", [2, 2, 2, 2, 5, 5, 5, 0, 0, 0, 0, 0]],
    ["that are all zero", [0, 0, 0, 0]],
  ])("%s", (_, right) => {
    expectEigenvalues(eigenvalues(withEigenvalues(right, 1), right.length), right);
  });

  it("of diagonal and tridiagonal matrices", () => {
    expectEigenvalues(eigenvalues(Float64Array.of(2, 0, 0, 0, 1, 0, 0, 0, 3), 3), [1, 2, 3]);
    const n = 50; // a chain of springs
    const chain = Float64Array.from({ length: n * n }, (_, i) => {
      const apart = Math.abs(Math.floor(i / n) - (i % n));
      return apart === 0 ? 2 : apart === 1 ? -1 : 0;
    });
    expectEigenvalues(
      eigenvalues(chain, n),
      Array.from({ length: n }, (_, i) => 2 - 2 * Math.cos((Math.PI * (i + 1)) / (n + 1))),
    );
    expect(eigenvalues(new Float64Array(), 0)).toHaveLength(0);
  });

  it("throw for a matrix with NaN", () => {
    expect(() => eigenvalues(Float64Array.of(1, 0, 0, NaN, 1, 0, 1, 1, 1), 3)).toThrow("not finite, or overflows");
  });

  it("read only the lower half", () => {
    const a = withEigenvalues([1, 2, 3, 4], 5).map((value, i) => (i % 4 > Math.floor(i / 4) ? NaN : value));
    expectEigenvalues(eigenvalues(a, 4), [1, 2, 3, 4]);
  });
});

describe("the factor", () => {
  it.each([
    ["of full rank", [1, 2, 3, 4, 5, 6], 6],
    ["of lower rank", [0, 4, 0, 1e-3, 0, 5, 0], 3],
    ["of rank zero", [0, 0, 0], 0],
    ["with a value just above the rounding", [1, 1, 1, 1e-13], 4],
  ])("%s reproduces the matrix", (_, values, right) => {
    const n = values.length;
    const a = withEigenvalues(values, 3);
    const before = a.slice();
    const { data, rank } = factor(a, n);
    expect(a).toEqual(before);
    expect(rank).toBe(right);
    expect(data).toHaveLength(n * rank);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += data[i * rank + k] * data[j * rank + k];
        expect(Math.abs(sum - a[i * n + j])).toBeLessThan(1e-14 * Math.max(...values) * n + 1e-300);
      }
  });
});
