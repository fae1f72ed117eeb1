/** AdamW compared with its formula in double precision. */

import { expect, it } from "vitest";
import { adamw, clipScale, globalNorm } from "./adamw.ts";

it.each([0, 0.05])("AdamW with weight decay %s", (weightDecay) => {
  const options = { learningRate: 0.01, betas: [0.9, 0.95], eps: 1e-8, weightDecay } as const;
  const value = Float32Array.of(1, -2, 0.5);
  const moments = { first: new Float32Array(3), second: new Float32Array(3) };
  let [p, m, v] = [
    [1, -2, 0.5],
    [0, 0, 0],
    [0, 0, 0],
  ];
  for (let step = 1; step <= 5; step++) {
    const gradient = Float32Array.of(0.3 * step, -0.1, 2 / step);
    adamw(value, gradient, moments, options, { step, scale: 0.5 });
    const g = [...gradient].map((x) => x * 0.5);
    m = m.map((x, i) => 0.9 * x + 0.1 * g[i]);
    v = v.map((x, i) => 0.95 * x + 0.05 * g[i] ** 2);
    p = p.map(
      (x, i) =>
        x * (1 - 0.01 * weightDecay) -
        (0.01 * (m[i] / (1 - 0.9 ** step))) / (Math.sqrt(v[i] / (1 - 0.95 ** step)) + 1e-8),
    );
  }
  p.forEach((expected, i) => expect(value[i]).toBeCloseTo(expected, 6));
});

it("the first AdamW step moves by the learning rate against the sign of the gradient, after the decay", () => {
  const value = Float32Array.of(1, 1, 1, 1);
  const moments = { first: new Float32Array(4), second: new Float32Array(4) };
  const options = { learningRate: 0.01, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.5 } as const;
  adamw(value, Float32Array.of(3, -0.001, 0, 1e-8), moments, options, { step: 1 });
  // 1 - 0.01 * 0.5 = 0.995, then -+ 0.01 g / (|g| + 1e-8)
  [0.985, 1.005 - 1e-7, 0.995, 0.99].forEach((expected, i) => expect(value[i]).toBeCloseTo(expected, 6));
  expect([...moments.first].map((m) => m.toPrecision(6))).toEqual([0.3, -0.0001, 0, 1e-9].map((m) => m.toPrecision(6)));
  expect([...moments.second].map((v) => v.toPrecision(6))).toEqual([0.45, 5e-8, 0, 5e-18].map((v) => v.toPrecision(6)));
});

it("clips by the joint norm of all gradients", () => {
  expect(globalNorm([Float32Array.of(3), Float32Array.of(0, 4)])).toBe(5);
  expect(clipScale(5, 3)).toBeCloseTo(0.6, 6);
  expect(clipScale(2, 3)).toBe(1);
  expect(clipScale(0, 3)).toBe(1);
  expect(globalNorm([])).toBe(0);
  // a sum of squares that would overflow in float32
  expect(globalNorm([new Float32Array(100).fill(1e20)])).toBeCloseTo(1e21, -15);
});
