/** Gradients of a small complete network compared with finite differences, and missing gradients. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { float32, type HostTensor, product } from "../core/arrays.ts";
import { derive, normal, seedKey, uniform } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import type { Session } from "../engine/engine.ts";
import * as g from "./build.ts";
import { gradients } from "./gradient.ts";
import { writeOnnx } from "./onnx.ts";
import { over } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

const [batch, tokens, width, heads, categories] = [2, 3, 8, 2, 5];

const shapes: Record<string, number[]> = {
  table: [categories, width],
  ...Object.fromEntries(
    [0, 1].flatMap((layer) =>
      Object.entries({
        "norm.weight": [width],
        "norm.bias": [width],
        "qkv.weight": [3 * width, width],
        "qkv.bias": [3 * width],
        "out.weight": [width, width],
        "up.weight": [2 * width, width],
        "up.bias": [2 * width],
        "down.weight": [width, 2 * width],
      }).map(([name, shape]) => [`${layer}.${name}`, shape]),
    ),
  ),
  x: [batch, tokens, width],
};

/** Two blocks of attention and a gated layer; the last token is used twice; logits are tied to the embedding. */
function network(): { loss: Tensor; wanted: Record<string, Tensor> } {
  const wanted: Record<string, Tensor> = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      name === "x" ? g.input("x", "float32", ["B", tokens, width]) : g.parameter(name, shape),
    ]),
  );
  let x = g.add(g.flatten(wanted.x), g.embedding(wanted.table, g.input("words", "int32", ["3*B"]))); // [B T, D]
  for (const layer of [0, 1]) {
    const weight = (name: string) => wanted[`${layer}.${name}`];
    const normed = g.layerNorm(x, weight("norm.weight"), weight("norm.bias"), 1e-5);
    const qkv = g.linear(normed, weight("qkv.weight"), weight("qkv.bias"));
    // three adjacent slices, whose gradients are concatenated again
    const [q, k, v] = [0, 1, 2].map((part) => {
      const one = g.slice(qkv, 1, part * width, (part + 1) * width);
      return g.transpose(g.reshape(one, [over(one.shape[0], tokens), tokens, heads, width / heads]), [0, 2, 1, 3]);
    });
    const scores = g.softmax(g.mul(g.matmul(q, k, { transB: true }), (width / heads) ** -0.5));
    const mixed = g.reshape(g.transpose(g.matmul(scores, v), [0, 2, 1, 3]), x.shape);
    x = g.add(x, g.linear(mixed, weight("out.weight")));
    const up = g.linear(x, weight("up.weight"), weight("up.bias"));
    const gated = g.concat([g.gelu(g.slice(up, -1, 0, width)), g.sigmoid(g.slice(up, -1, width, 2 * width))], -1);
    x = g.add(x, g.linear(gated, weight("down.weight")));
  }
  const last = g.pick(g.reshape(x, ["B", tokens, width]), 1, tokens - 1); // [B, D]
  const scaled = g.div(x, g.sqrt(g.add(g.mean(g.mul(x, x)), 1e-3)));
  const logits = g.linear(scaled, wanted.table);
  const nats = g.crossEntropy(logits, g.input("targets", "int64", ["3*B"]));
  return { loss: g.add(g.sum(nats, [0]), g.mul(g.sum(g.mul(last, last), [0, 1]), 0.1)), wanted };
}

const key = seedKey(3);
const data = Object.fromEntries(
  Object.entries(shapes).map(([name, shape], i) => [
    name,
    Float32Array.from(
      { length: product(shape) },
      (_, n) => 0.5 * normal(derive(key, i), n) + Number(name.endsWith("norm.weight")),
    ),
  ]),
);

const feeds = (): Record<string, HostTensor> => ({
  ...Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, float32(data[name], shape)])),
  words: { dtype: "int32", shape: [6], data: Int32Array.of(0, 1, 1, 4, 0, 2) },
  targets: { dtype: "int64", shape: [6], data: BigInt64Array.of(3n, 1n, 0n, 4n, 4n, 2n) },
});

describe("a network of two layers", () => {
  const { loss, wanted } = network();
  const names = Object.keys(wanted);
  const slopes = gradients(loss, Object.values(wanted));
  let session: Session;
  let found: Record<string, HostTensor>;
  beforeAll(async () => {
    session = await (
      await nodeEngine()
    ).session(writeOnnx({ loss, ...Object.fromEntries(names.map((name, i) => [`d.${name}`, slopes[i]])) }));
    found = await session.run(feeds());
  });
  afterAll(() => session.dispose());

  it.each(names)("has the gradient of %s", async (name) => {
    expect(found[`d.${name}`].shape).toEqual(shapes[name]);
    const values = data[name];
    const start = values.slice();
    const gradient = found[`d.${name}`].data as Float32Array;
    // Fourth-order differences along random directions in all of its values.
    for (const direction of [0, 1, 2]) {
      const signs = values.map((_, i) => (uniform(derive(key, 100 + direction), i) < 0.5 ? -1 : 1));
      const at = async (offset: number): Promise<number> => {
        values.forEach((_, i) => (values[i] = start[i] + offset * signs[i]));
        return Number((await session.run(feeds())).loss.data[0]);
      };
      const step = 4e-3;
      const slope =
        (8 * ((await at(step)) - (await at(-step))) - ((await at(2 * step)) - (await at(-2 * step)))) / (12 * step);
      values.set(start);
      const expected = signs.reduce((sum, sign, i) => sum + sign * gradient[i], 0);
      expect(Math.abs(slope - expected)).toBeLessThan(3e-3 * Math.max(1, Math.abs(slope)));
    }
    expect(gradient.some((value) => Math.abs(value) > 1e-3)).toBe(true);
  });

  it("concatenates the gradients of adjacent slices, without padding and adding them", () => {
    const operations = new Map<string, number>();
    const seen = new Set<Tensor>();
    const visit = (tensor: Tensor): void => {
      if (seen.has(tensor)) return;
      seen.add(tensor);
      operations.set(tensor.op, (operations.get(tensor.op) ?? 0) + 1);
      tensor.inputs.forEach(visit);
    };
    slopes.forEach(visit);
    expect(operations.get("pad")).toBe(1); // that of the last token, which has no adjacent slice
  });
});

describe("gradients", () => {
  const x = g.parameter("x", [3]);
  const w = g.parameter("w", [3]);
  it("of slices that overlap, leave gaps or are used twice are added", async () => {
    // Slices in the form "start end".
    const cuts = [
      ["0 2", "1 3"],
      ["0 1", "2 3"],
      ["0 1", "1 2"],
      ["0 1", "1 3", "1 3"],
      ["1 3", "0 1"],
      ["0 1", "0 1", "1 2", "2 3"],
      ["0 1", "2 3", "2 3"],
    ].map((parts) => parts.map((part) => part.split(" ").map(Number)));
    for (const parts of cuts) {
      // the n-th slice has weight n + 1
      const loss = parts
        .map(([from, to], n) => g.mul(g.sum(g.slice(x, 0, from, to), [0]), n + 1))
        .reduce((a, b) => g.add(a, b));
      const session = await (await nodeEngine()).session(writeOnnx({ dx: gradients(loss, [x])[0], loss }));
      const { dx } = await session.run({ x: float32([1, 2, 3], [3]) });
      await session.dispose();
      const expected = [0, 0, 0].map((_, i) =>
        parts.reduce((sum, [from, to], n) => sum + (i >= from && i < to ? n + 1 : 0), 0),
      );
      expect([...dx.data], JSON.stringify(parts)).toEqual(expected);
    }
  });

  it("throw an error that names a tensor on which the loss does not depend", () => {
    const loss = g.sum(g.mul(x, x), [0]);
    expect(() => gradients(loss, [x, w])).toThrow("gradients: the loss does not depend on w");
    expect(() => gradients(g.sum(g.add(x, g.round(w)), [0]), [x, w])).toThrow(
      "gradients: the loss does not depend on w",
    );
    expect(() => gradients(loss, [g.input("labels", "int32", [1])])).toThrow("labels");
  });

  it("require a scalar loss", () => {
    expect(() => gradients(g.mul(x, x), [x])).toThrow("gradients: the loss is [3], expected a scalar");
  });

  it("of an intermediate tensor are correct", async () => {
    const y = g.mul(x, 3);
    const [dy, dx] = gradients(g.sum(g.mul(y, y), [0]), [y, x]);
    const session = await (await nodeEngine()).session(writeOnnx({ dy, dx }));
    const results = await session.run({ x: float32([1, 2, 3], [3]) });
    await session.dispose();
    expect([...results.dy.data]).toEqual([6, 12, 18]);
    expect([...results.dx.data]).toEqual([18, 36, 54]);
  });
});
