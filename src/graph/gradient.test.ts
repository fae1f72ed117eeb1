/** Every row of the operation table compared with finite differences; a row without an example does not compile. */

import { describe, expect, it } from "vitest";
import { float32, type HostTensor, int32, product } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import * as g from "./build.ts";
import { gradients } from "./gradient.ts";
import { writeOnnx } from "./onnx.ts";
import { operations } from "./operations/table.ts";
import type { OpName, Tensor } from "./tensor.ts";

interface Example {
  /** Shapes of the float inputs, values between `low` and `high`. */
  inputs: number[][];
  low?: number;
  high?: number;
  apply(xs: Tensor[]): Tensor;
}

const ints = (data: number[], shape: number[]) => g.constant(int32(data, shape));
const longs = (data: number[]) =>
  g.constant({ dtype: "int64", shape: [data.length], data: BigInt64Array.from(data, BigInt) });

/** The examples for each row; a sentence if there are none. */
const examples: Record<OpName, Example[] | string> = {
  input: "a leaf",
  parameter: "a leaf, differentiated in every other example",
  constant: "a leaf",
  loopIndex: "an integer leaf",
  loop: "created by gradients, never differentiated",
  loopResult: "created by gradients, never differentiated",
  pickAt: "used where rounds of a loop start",
  rowsBetween: "used where rounds of a loop start",
  add: [
    { inputs: [[2, 3], [3]], apply: ([a, b]) => g.add(a, b) },
    {
      inputs: [
        [2, 1],
        [1, 3],
      ],
      apply: ([a, b]) => g.add(a, b),
    },
  ],
  sub: [
    {
      inputs: [
        [2, 3],
        [2, 1],
      ],
      apply: ([a, b]) => g.sub(a, b),
    },
  ],
  mul: [
    { inputs: [[2, 3], [3]], apply: ([a, b]) => g.mul(a, b) },
    { inputs: [[2, 3]], apply: ([a]) => g.mul(a, a) },
  ],
  div: [
    {
      inputs: [
        [2, 3],
        [1, 3],
      ],
      low: 0.5,
      high: 2,
      apply: ([a, b]) => g.div(a, b),
    },
  ],
  maximum: "only in sampling, which has no gradient",
  less: "piecewise constant",
  clip: "only in sampling, which has no gradient",
  round: "piecewise constant",
  stopGradient: "zero by definition",
  max: "only in sampling, which has no gradient",
  descending: "only in sampling, which has no gradient",
  cumulativeSum: "only in sampling, which has no gradient",
  gatherTokens: "only in sampling, which has no gradient",
  convolution: [
    {
      inputs: [[2, 2, 3, 3], [2, 2, 2, 2], [2]],
      low: -0.5,
      high: 0.5,
      apply: ([x, w, bias]) => g.convolution(x, w, { bias }),
    },
    {
      inputs: [
        [1, 2, 4, 5],
        [2, 2, 3, 2],
      ],
      low: -0.5,
      high: 0.5,
      apply: ([x, w]) => g.convolution(x, w, { strides: [2, 2], padding: [1, 0] }),
    },
    {
      // more padding than window positions
      inputs: [
        [2, 1, 2, 3],
        [1, 1, 5, 5],
      ],
      low: -0.5,
      high: 0.5,
      apply: ([x, w]) => g.convolution(x, w, { strides: [2, 1], padding: [2, 1] }),
    },
    {
      inputs: [
        [1, 1, 6, 5],
        [2, 1, 2, 3],
      ],
      low: -0.5,
      high: 0.5,
      apply: ([x, w]) => g.convolution(x, w, { strides: [3, 1], padding: [0, 1], dilations: [1, 2] }),
    },
  ],
  convolutionBack: "only inside the gradient of convolution",
  maxPool: "only in measuring, which has no gradient",
  averagePool: "only in measuring, which has no gradient",
  resize: "only in measuring, which has no gradient",
  relu: [{ inputs: [[2, 5]], apply: ([x]) => g.relu(x) }],
  oneHot: "whole numbers have no gradient",
  dropoutMask: "piecewise constant",
  layerNormStatistic: "only inside the gradient of layerNorm",
  neg: [{ inputs: [[4]], apply: ([x]) => g.neg(x) }],
  exp: [{ inputs: [[4]], apply: ([x]) => g.exp(x) }],
  log: [{ inputs: [[4]], low: 0.5, high: 2, apply: ([x]) => g.log(x) }],
  sqrt: [{ inputs: [[4]], low: 0.5, high: 2, apply: ([x]) => g.sqrt(x) }],
  erf: [{ inputs: [[5]], apply: ([x]) => g.erf(x) }],
  sigmoid: [{ inputs: [[5]], apply: ([x]) => g.sigmoid(x) }],
  gelu: [{ inputs: [[9]], low: -3, high: 3, apply: ([x]) => g.gelu(x) }],
  cast: [{ inputs: [[3]], apply: ([x]) => g.cast(g.cast(x, "float64"), "float32") }],
  where: [
    {
      inputs: [[2, 3], [3]],
      apply: ([a, b]) => g.where(g.less(g.constant(float32([0, 1, 0], [3])), 0.5), a, b),
    },
  ],
  matmul: [false, true].flatMap((transA) =>
    [false, true].flatMap((transB) => {
      const a = transA ? [4, 2] : [2, 4];
      const b = transB ? [3, 4] : [4, 3];
      const apply = ([x, y]: Tensor[]) => g.matmul(x, y, { transA, transB });
      return [
        { inputs: [a, b], apply },
        {
          inputs: [
            [2, ...a],
            [2, ...b],
          ],
          apply,
        },
      ];
    }),
  ),
  linear: [
    { inputs: [[2, 4], [3, 4], [3]], apply: ([x, w, b]) => g.linear(x, w, b) },
    {
      inputs: [
        [2, 2, 4],
        [3, 4],
      ],
      apply: ([x, w]) => g.linear(x, w),
    },
  ],
  transpose: [{ inputs: [[2, 3, 4]], apply: ([x]) => g.transpose(x, [2, 0, 1]) }],
  reshape: [{ inputs: [[2, 6]], apply: ([x]) => g.reshape(x, [3, 4]) }],
  concat: [
    {
      inputs: [
        [2, 3],
        [2, 1],
      ],
      apply: ([a, b]) => g.concat([a, b], -1),
    },
  ],
  slice: [{ inputs: [[4, 3]], apply: ([x]) => g.slice(x, 0, 1, 3) }],
  pad: [{ inputs: [[2, 3]], apply: ([x]) => g.pad(x, 1, 1, 2) }],
  expandLike: [
    {
      inputs: [
        [1, 3],
        [2, 3],
      ],
      apply: ([x, like]) => g.add(g.expandLike(x, like), like),
    },
  ],
  sum: [
    { inputs: [[2, 3, 2]], apply: ([x]) => g.sum(x, [0, 2]) },
    { inputs: [[4, 3]], apply: ([x]) => g.sum(x, [0]) },
    { inputs: [[2, 3]], apply: ([x]) => g.sum(x, [-1], { keep: true }) },
  ],
  mean: [{ inputs: [[2, 3]], apply: ([x]) => g.mean(x) }],
  softmax: [{ inputs: [[2, 5]], apply: ([x]) => g.softmax(x) }],
  crossEntropy: [{ inputs: [[3, 5]], apply: ([x]) => g.crossEntropy(x, longs([1, 4, 0])) }],
  layerNorm: [{ inputs: [[3, 6], [6], [6]], apply: ([x, w, b]) => g.layerNorm(x, w, b, 1e-5) }],
  rmsNorm: [{ inputs: [[3, 6], [6]], apply: ([x, w]) => g.rmsNorm(x, w, 1e-5) }],
  rotary: [
    {
      inputs: [[2, 3, 4]],
      apply: ([x]) => {
        const table = (turn: (angle: number) => number) =>
          g.constant(
            float32(
              Array.from({ length: 10 }, (_, i) => turn(i)),
              [5, 2],
            ),
          );
        const positions = g.reshape(longs([0, 2, 4]), [1, 3]);
        return g.rotary(x, { cos: table(Math.cos), sin: table(Math.sin), positions });
      },
    },
  ],
  embedding: [{ inputs: [[4, 3]], apply: ([table]) => g.embedding(table, ints([1, 3, 1, 0], [2, 2])) }],
  gatherRows: [
    // rows 0, 2, 2, none and 1 of 3; row 0 was copied to result 0, row 1 to 4, and row 2 to 1 and 2; 5 means none
    {
      inputs: [[3, 2]],
      apply: ([x]) => g.gatherRows(x, ints([0, 2, 2, 3, 1], [5]), ints([0, 5, 4, 5, 1, 2], [3, 2])),
    },
  ],
};

/** A fixed sequence of values between low and high, the same on every machine. */
function values(shape: number[], low: number, high: number, salt: number): Float32Array {
  return Float32Array.from(
    { length: product(shape) },
    (_, i) => low + (((high - low) * (((Math.sin(i * 12.9898 + salt * 78.233) * 43758.5453) % 1) + 1)) % 1) * 1,
  );
}

const engine = await nodeEngine();

describe("gradients agree with finite differences", () => {
  for (const op of Object.keys(operations) as OpName[]) {
    const cases = examples[op];
    if (typeof cases === "string") {
      it(`${op}: none (${cases})`, () => expect(operations[op].gradient).toBeTypeOf("string"));
      continue;
    }
    cases.forEach((example, number) =>
      it(`${op} ${number}`, async () => {
        const { inputs, low = -1, high = 1, apply } = example;
        const xs = inputs.map((shape, i) => g.parameter(`x${i}`, shape));
        const y = apply(xs);
        const weights = g.constant(float32(values(y.shape as number[], -1, 1, 7), y.shape as number[]));
        const loss = g.sum(g.mul(y, weights), [...y.shape.keys()]);
        const wanted = gradients(loss, xs);
        wanted.forEach((dx, i) => expect(dx.shape).toEqual(inputs[i]));
        const session = await engine.session(
          writeOnnx({ loss, ...Object.fromEntries(wanted.map((dx, i) => [`d${i}`, dx])) }),
        );
        const data = inputs.map((shape, i) => values(shape, low, high, i + 1));
        const run = async () =>
          session.run(Object.fromEntries(data.map((d, i) => [`x${i}`, float32(d, inputs[i]) as HostTensor])));
        const result = await run();
        const step = 1e-2;
        for (const [i, d] of data.entries())
          for (let at = 0; at < d.length; at++) {
            const middle = d[at];
            const at4 = async (offset: number) => {
              d[at] = middle + offset;
              return Number((await run()).loss.data[0]);
            };
            // Fourth-order central difference: the error from float32 sums is about 1e-5, that of the formula is
            // smaller.
            const slope =
              (8 * ((await at4(step)) - (await at4(-step))) - ((await at4(2 * step)) - (await at4(-2 * step)))) /
              (12 * step);
            d[at] = middle;
            expect(Math.abs(Number(result[`d${i}`].data[at]) - slope), `d${i}[${at}]`).toBeLessThan(
              2e-4 * Math.max(1, Math.abs(slope)),
            );
          }
        await session.dispose();
      }),
    );
  }
});

describe("an operation without a gradient", () => {
  const x = g.parameter("x", [1, 2, 4, 4]);
  const total = (y: Tensor) => g.sum(y, [...y.shape.keys()]);
  it.each([
    ["averagePool", g.averagePool(x, [2, 2])],
    ["maxPool", g.maxPool(x, [2, 2])],
    ["resize", g.resize(x, 2, 2)],
    ["clip", g.clip(x, 0, 1)],
    ["max", g.max(x)],
    ["maximum", g.maximum(x, 0)],
    ["cumulativeSum", g.cumulativeSum(x)],
  ])("throws: %s", (op, y) => {
    expect(() => gradients(g.add(total(y), total(x)), [x])).toThrow(new RegExp(`^gradients: ${op} has no gradient`));
    expect(gradients(g.add(total(g.stopGradient(y)), total(x)), [x])).toHaveLength(1);
  });

  it("does not matter if no wanted tensor depends on it", () => {
    const y = g.parameter("y", [1]);
    expect(gradients(total(g.add(y, g.max(x))), [y])).toHaveLength(1);
  });
});

it("stopGradient returns its input and blocks the gradient", async () => {
  const x = g.parameter("x", [2]);
  const loss = g.sum(g.mul(x, g.stopGradient(x)), [0]);
  const [dx] = gradients(loss, [x]);
  const session = await engine.session(writeOnnx({ loss, dx }));
  const result = await session.run({ x: float32([3, 5], [2]) });
  expect([...result.loss.data, ...result.dx.data]).toEqual([34, 3, 5]);
  await session.dispose();
  expect(() => gradients(g.sum(g.stopGradient(x), [0]), [x])).toThrow("the loss does not depend on x");
});
