/** The forms in which graphs are written for GPUs compute the same as the usual one. */

import { fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import { expect, it } from "vitest";
import { float32, int32 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { cast, crossEntropy, input, linear, matmul, oneHot, round, slice, softmax, sum } from "./build.ts";
import type { Form } from "./form.ts";
import { writeOnnx } from "./onnx.ts";

const engine = await nodeEngine({ threads: 1 });
const logits = input("logits", "float32", [3, 7]);
const target = input("target", "int32", [3]);
const graph = {
  nats: crossEntropy(logits, target),
  hot: oneHot(target, 7),
  rounded: cast(round(logits), "int32"),
  sums: sum(logits, [0]),
  part: slice(target, 0, 1, 3),
  product: matmul(logits, softmax(logits), { transB: true }),
  layer: linear(logits, logits),
};
const feeds = {
  // Halves between even and odd numbers, large and negative numbers.
  logits: float32(
    [0.5, 1.5, 2.5, -0.5, -1.5, 3.49, 80, -2.5, 0, 7.5, 8.5, -80, 0.49, 1e-3, 300, 1, 2, 3, -4, 5, 6],
    [3, 7],
  ),
  target: int32([6, 3, 0], [3]),
};

async function results(form: Form) {
  const session = await engine.session(writeOnnx(graph, form));
  const found = await session.run(feeds);
  await session.dispose();
  return found;
}
const plain = await results({});

it("WebGPU's form computes the same, without the operators that the provider lacks", async () => {
  const form = await results({ webgpu: true });
  for (const name of ["hot", "rounded", "part"]) expect([...form[name].data], name).toEqual([...plain[name].data]);
  for (const name of ["nats", "sums", "product", "layer"])
    form[name].data.forEach((value, i) => expect(Number(value), name).toBeCloseTo(Number(plain[name].data[i]), 3));
  const text = Buffer.from(writeOnnx(graph, { webgpu: true }).bytes).toString("latin1");
  for (const type of ["LogSoftmax", "OneHot", "Round", "Slice"]) expect(text).not.toContain(type);
  expect([...plain.rounded.data].slice(0, 5).map(Number)).toEqual([0, 2, 2, 0, -2]);
});

it("float16 casts the inputs of products and their results, and nothing else", async () => {
  const types = (form: Form) =>
    fromBinary(ModelProtoSchema, writeOnnx(graph, form).bytes).graph!.node.map(({ opType }) => opType);
  const [full, half] = [types({}), types({ precision: "float16" })];
  expect(half.filter((type) => type !== "Cast")).toEqual(full.filter((type) => type !== "Cast"));
  // Of two products with two different inputs in all: logits and softmax.
  expect(half.length - full.length).toBe(2 + 2);
  const found = await results({ precision: "float16" }); // the CPU computes this in float32
  for (const name of Object.keys(plain)) expect(found[name].shape, name).toEqual(plain[name].shape);
});

it("float16 is refused on the CPU, with the reason", async () => {
  const { fallback, precision } = await nodeEngine({ precision: "float16" });
  expect(fallback).toBe("float16 is not available on cpu here: only GPUs have it");
  expect(precision).toBeUndefined();
});
