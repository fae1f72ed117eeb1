/** Written models are read back and checked against the requirements of ONNX, including the location of weights. */

import { fromBinary } from "@bufbuild/protobuf";
import {
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  TensorProto_DataLocation,
  type ValueInfoProto,
} from "onnx-buf";
import { describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { float32, int32 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import type { Tensor } from "./tensor.ts";
import { lossGraph } from "../model/loss.ts";
import { gradients } from "./gradient.ts";
import { trainingGraph } from "../model/training.ts";
import { beginGraph, pixelGraph, stepGraph } from "../model/steps.ts";
import * as g from "./build.ts";
import { writeOnnx } from "./onnx.ts";
import { named } from "./tree.ts";

const read = (bytes: Uint8Array): ModelProto => fromBinary(ModelProtoSchema, bytes);

const config = parseModelConfig(
  {
    imageSize: 8,
    classes: ["one", "two"],
    levels: [
      { kind: "ar", patch: 4, width: 16, depth: 1, heads: 2 },
      { kind: "mar", patch: 2, width: 16, depth: 1, heads: 2, conditions: 1 },
      { kind: "mar", patch: 1, width: 8, depth: 1, heads: 2, guidingPixel: true },
      { kind: "pixel", width: 8, depth: 1, heads: 2 },
    ],
  },
  "test",
);

const graphs: [string, () => Record<string, Tensor>][] = [
  ["training", () => named(trainingGraph(config, { attentionDropout: 0.1, projectionDropout: 0.1 }))],
  ["likelihood", () => ({ nats: lossGraph(config).nats })],
  ["begin", () => beginGraph(config, 1)],
  ["AR step", () => named(stepGraph(config, 0, { guided: true }))],
  ["MAR step", () => named(stepGraph(config, 2, { guided: true }))],
  ["guiding pixel", () => pixelGraph(config, 2, { guided: true })],
  ["pixels", () => pixelGraph(config, 3, { guided: true })],
];

const sizesOf = ({ type }: ValueInfoProto): (number | string)[] => {
  if (type?.value.case !== "tensorType") throw new Error("no tensor");
  return type.value.value.shape!.dim.map(({ value }) =>
    value.case === "dimValue" ? Number(value.value) : (value.value as string),
  );
};

/** The loop bodies directly in a graph. */
const bodies = (graph: GraphProto): GraphProto[] =>
  graph.node.flatMap(({ attribute }) => attribute.flatMap(({ g }) => (g ? [g, ...bodies(g)] : [])));

/** Every name that is assigned a value, in order. */
const given = (graph: GraphProto): string[] => [
  ...graph.input.map(({ name }) => name!),
  ...graph.initializer.map(({ name }) => name!),
  ...graph.node.flatMap(({ output }) => output),
];

/** Checks that every name is defined before it is used. A loop body can use names defined before its loop. */
function checkOrder(graph: GraphProto, outside: ReadonlySet<string> = new Set([""])): void {
  const known = new Set([...outside, ...[...graph.input, ...graph.initializer].map(({ name }) => name!)]);
  for (const { input, output, opType, attribute } of graph.node) {
    for (const name of input) expect(known.has(name), `${opType} takes ${name}`).toBe(true);
    for (const { g } of attribute) if (g) checkOrder(g, known);
    for (const name of output) known.add(name);
  }
  for (const { name } of graph.output) expect(known.has(name!), name).toBe(true);
}

describe.each(graphs)("the %s graph", (_, make) => {
  const outputs = make();
  const model = writeOnnx(outputs);
  const proto = read(model.bytes);
  const graph = proto.graph!;

  it("declares opset 21, or 23 if it needs it, and no other", () => {
    const isNew = [graph, ...bodies(graph)].some(({ node }) =>
      node.some(({ opType }) => opType === "RMSNormalization" || opType === "RotaryEmbedding"),
    );
    const versions = proto.opsetImport.map(({ domain, version }) => [domain, version]);
    expect(versions).toEqual([["", isNew ? 23n : 21n]]);
    expect(proto.irVersion).toBe(isNew ? 11n : 10n);
  });

  it("defines every name once, before it is used", () => {
    const names = [graph, ...bodies(graph)].flatMap(given).filter((name) => name !== "");
    expect(new Set(names).size).toBe(names.length);
    checkOrder(graph);
    const nodes = graph.node.map(({ name }) => name).filter(Boolean);
    expect(new Set(nodes).size).toBe(nodes.length);
  });

  it("lists inputs and outputs, with their shapes", () => {
    expect(graph.input.map(({ name }) => name)).toEqual(model.inputs);
    expect(graph.output.map(({ name }) => name)).toEqual(model.outputs);
    expect(model.outputs).toEqual(Object.keys(outputs));
    for (const info of graph.output) expect(sizesOf(info), info.name).toEqual([...outputs[info.name!].shape]);
  });

  it("stores the right number of bytes for the shape and type of each constant", () => {
    const bytesOf: Record<number, number> = { 1: 4, 2: 1, 6: 4, 7: 8, 9: 1, 11: 8, 12: 4 };
    for (const { dims, dataType, rawData, name } of graph.initializer)
      expect(rawData!.length, name).toBe(dims.reduce((a, b) => a * Number(b), 1) * bytesOf[dataType!]);
  });

  it("refers to weights in a file by offset and length, without their bytes", () => {
    const asked: string[] = [];
    const weights = (name: string) => ({ file: "model.safetensors", offset: 1000 + asked.push(name), bytes: 4 });
    const inFile = writeOnnx(outputs, { weights });
    const stored = read(inFile.bytes).graph!.initializer.filter(
      ({ dataLocation }) => dataLocation === TensorProto_DataLocation.EXTERNAL,
    );
    expect(stored.length).toBeGreaterThan(4);
    expect(stored.map(({ name }) => name)).toEqual(asked);
    stored.forEach(({ rawData, externalData }, i) => {
      expect(rawData?.length ?? 0).toBe(0);
      expect(externalData.map(({ key, value }) => [key, value])).toEqual([
        ["location", "model.safetensors"],
        ["offset", String(1001 + i)],
        ["length", "4"],
      ]);
    });
    expect([...inFile.inputs, ...asked].sort()).toEqual([...model.inputs].sort());
  });
});

describe("writing", () => {
  const engine = nodeEngine();
  const x = g.input("x", "float32", ["N"]);

  it("shares constants only if they have the same value", () => {
    const several = [1, 1, 2, -0, 0].map((value) => g.constant(float32([value], [])));
    const whole = g.cast(g.constant(int32([0], [])), "float32");
    const vector = g.constant(float32([1], [1]));
    const outputs = Object.fromEntries([...several, whole, vector].map((value, i) => [`y${i}`, g.div(x, value)]));
    expect(read(writeOnnx(outputs).bytes).graph!.initializer.length).toBe(6); // 1.0 once; 2, -0, 0, the int32's 0 and the vector
  });

  it("supports an input, a constant, and one tensor under two names as outputs", async () => {
    const y = g.add(x, 1);
    const session = await (
      await engine
    ).session(writeOnnx({ same: x, one: y, two: y, five: g.constant(float32([5], [])) }));
    const results = await session.run({ x: float32([1, 2], [2]) });
    expect(Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, [...data]]))).toEqual({
      same: [1, 2],
      one: [2, 3],
      two: [2, 3],
      five: [5],
    });
    await session.dispose();
  });

  it("rejects a duplicate name", () => {
    expect(() => writeOnnx({ y: g.add(x, g.input("x", "float32", ["N"])) })).toThrow("writeOnnx: the name x is taken");
    expect(() => writeOnnx({ x: g.add(x, 1) })).toThrow("writeOnnx: the name x is taken");
    expect(() => writeOnnx({ v0: g.add(x, 1) })).toThrow("writeOnnx: the name v0 is taken");
  });

  it("does not overflow the stack with a chain of 20,000 operations", () => {
    let y: Tensor = x;
    for (let i = 0; i < 20_000; i++) y = g.neg(y);
    expect(read(writeOnnx({ y }).bytes).graph!.node.length).toBe(20_001);
    expect(gradients(g.sum(y, [0]), [x])[0].shape).toEqual(["N"]);
  });
});
