/** Operations on images compared with plain loops. Their gradients are tested in ../gradient.test.ts. */

import { describe, expect, it } from "vitest";
import { float32, type HostTensor, product } from "../../core/arrays.ts";
import { nodeEngine } from "../../engine/node.ts";
import * as g from "../build.ts";
import { floatingPointOperations } from "../cost.ts";
import { writeOnnx } from "../onnx.ts";
import { type Dim, showShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

const engine = await nodeEngine({ threads: 1 });
const shape = [2, 3, 5, 7];
const [, , height, width] = shape;
/** Values between -1.5 and -0.5, so that padding with zeros would be the maximum. */
const values = float32(
  Float32Array.from({ length: product(shape) }, (_, i) => -1 + Math.sin(i * 1.7) / 2),
  shape,
);
const x = g.input("x", "float32", ["B", 3, 5, 7]);
const at = (b: number, c: number, y: number, column: number): number | undefined =>
  y < 0 || column < 0 || y >= height || column >= width
    ? undefined
    : values.data[((b * 3 + c) * height + y) * width + column];

async function expectValues(result: Tensor, expected: (b: number, c: number, y: number, x: number) => number) {
  const session = await engine.session(writeOnnx({ result }));
  const got = (await session.run({ x: values })).result as HostTensor<Float32Array>;
  await session.dispose();
  expect(got.shape).toEqual([2, ...result.shape.slice(1)]);
  const [, channels, rows, columns] = got.shape;
  got.data.forEach((value, i) => {
    const [c, y, column] = [Math.floor(i / rows / columns) % channels, Math.floor(i / columns) % rows, i % columns];
    expect(value).toBeCloseTo(expected(Math.floor(i / channels / rows / columns), c, y, column), 5);
  });
}

/** The values in a window; undefined for padding. */
const inWindow = (b: number, c: number, [top, left]: number[], [h, w]: number[]): (number | undefined)[] =>
  Array.from({ length: h * w }, (_, i) => at(b, c, top + Math.floor(i / w), left + (i % w)));
const total = (found: (number | undefined)[]) => found.reduce<number>((sum, value) => sum + (value ?? 0), 0);

describe("convolution", () => {
  it("with a rectangular window, strides, padding and a bias", async () => {
    const weight = float32(
      Float32Array.from({ length: 4 * 3 * 3 * 2 }, (_, i) => Math.cos(i)),
      [4, 3, 3, 2],
    );
    const bias = float32([1, 2, 3, 4], [4]);
    const result = g.convolution(x, g.constant(weight), {
      bias: g.constant(bias),
      strides: [2, 3],
      padding: [1, 0],
    });
    expect(result.shape).toEqual(["B", 4, 3, 2]);
    await expectValues(result, (b, d, y, column) => {
      let sum = bias.data[d];
      for (let c = 0; c < 3; c++)
        inWindow(b, c, [2 * y - 1, 3 * column], [3, 2]).forEach((value, i) => {
          sum += (value ?? 0) * weight.data[(d * 3 + c) * 6 + i];
        });
      return sum;
    });
    const sizes = new Map([["B", 2]]);
    expect(floatingPointOperations({ result }, sizes)).toBe(2 * (2 * 4 * 3 * 2) * (3 * 3 * 2));
  });
});

describe("pooling", () => {
  it("takes the maximum, ignoring padding", () =>
    expectValues(g.maxPool(x, [3, 3], { strides: [2, 2], padding: [1, 1] }), (b, c, y, column) =>
      Math.max(...inWindow(b, c, [2 * y - 1, 2 * column - 1], [3, 3]).map((value) => value ?? -Infinity)),
    ));

  it.each([false, true])("takes the mean (padding counts: %s)", (countPadding) =>
    expectValues(g.averagePool(x, [3, 3], { padding: [1, 1], countPadding }), (b, c, y, column) => {
      const found = inWindow(b, c, [y - 1, column - 1], [3, 3]);
      return total(found) / (countPadding ? 9 : found.filter((value) => value !== undefined).length);
    }),
  );
});

it.each([
  [12, 9],
  [3, 4],
  [5, 7],
])("resizes to %i x %i as TensorFlow 1 does", async (rows, columns) => {
  const open = g.input("x", "float32", ["B", 3, "H", "W"]); // sides known only at run time
  await expectValues(g.resize(open, rows, columns), (b, c, y, column) => {
    const [v, u] = [(y * height) / rows, (column * width) / columns];
    const [top, left] = [Math.floor(v + 1e-9), Math.floor(u + 1e-9)];
    const value = (i: number, j: number) => at(b, c, Math.min(top + i, height - 1), Math.min(left + j, width - 1))!;
    const row = (i: number) => value(i, 0) + (value(i, 1) - value(i, 0)) * (u - left);
    return row(0) + (row(1) - row(0)) * (v - top);
  });
});

it("a violated shape rule names the actual and the expected shape", () => {
  const images = (...sides: Dim[]) => g.input("x", "float32", sides);
  const all: [() => Tensor, string][] = [
    [
      () => g.convolution(images(2, 3, 5, 5), images(4, 2, 3, 3)),
      "convolution: channels differ: [2, 3, 5, 5] and weight [4, 2, 3, 3]",
    ],
    [
      () => g.convolution(images(2, 3, 5, 5), images(4, 3, 3, 3), { bias: images(3) }),
      "convolution: the bias is [3], expected [4]",
    ],
    [
      () => g.convolution(images(2, 3, 2, 5), images(4, 3, 3, 3)),
      "convolution: a window of 3 x 3 does not fit into [2, 3, 2, 5]",
    ],
    [() => g.maxPool(images(2, 3, "H", 5), [3, 3]), "maxPool: sides of [2, 3, H, 5] are not known"],
    [
      () => g.averagePool(images(2, 3, 5, 5), [2, 3], { padding: [2, 0] }),
      "averagePool: padding of 2 x 0 is as large as the window, 2 x 3",
    ],
    [() => g.resize(images(2, 3, 5), 4, 4), `resize: input is ${showShape([2, 3, 5])}, expected images`],
  ];
  for (const [make, message] of all) expect(make).toThrow(message);
});
