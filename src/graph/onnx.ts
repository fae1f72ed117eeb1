/** Writes a graph as an ONNX model (protobuf). Knows nothing of engines. */

import { create, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "onnx-buf";
import { type DType, float32, type HostTensor, int32 } from "../core/arrays.ts";
import type { Form } from "./form.ts";
import { contributed, type Emitter, type NodeAttribute, onnxType } from "./operations/row.ts";
import { operations } from "./operations/table.ts";
import type { Shape } from "./shape.ts";
import { is, loopBody, type Tensor, topological } from "./tensor.ts";

/** The location of a weight's bytes in a file next to the model. */
export interface ExternalData {
  file: string;
  offset: number;
  bytes: number;
}

/** A weight in the file; for a quantized one, the stored tensor and its scales. */
export interface WeightData extends ExternalData {
  /** The type of the stored values if they become float32 only when the model is loaded. */
  stored?: HalfType;
  quantized?: { dtype: "q8" | "q4"; shape: readonly number[]; scale: ExternalData & { shape: readonly number[] } };
}

/** Sixteen-bit types that weights can be stored in. */
export type HalfType = "F16" | "BF16";

const onnxHalf: Record<HalfType, TensorProto_DataType> = {
  F16: TensorProto_DataType.FLOAT16,
  BF16: TensorProto_DataType.BFLOAT16,
};

/** A graph in ONNX form. */
export interface OnnxModel {
  bytes: Uint8Array;
  /** Names of the inputs of a run, including parameters that are not external, and of its outputs. */
  inputs: string[];
  outputs: string[];
  /** The graph it was written from. */
  graph: Record<string, Tensor>;
  /** Whether it multiplies bytes, which some processors do inexactly unless a session option prevents it. */
  multipliesBytes: boolean;
  /**
   * The number of nodes that compute something; a concatenation of many tensors counts as the kernels it takes. A run on
   * a GPU launches at most so many kernels, because the runtime fuses some of them. Nodes in the body of a loop count
   * once.
   */
  launches: number;
}

/** Tensors that one kernel concatenates: WebGPU guarantees eight buffers, of which one is the result. */
const concatInputs = 7;

/** Operators that only give a tensor another shape, without touching its values. */
const views: ReadonlySet<string> = new Set(["Identity", "Reshape", "Squeeze", "Unsqueeze", "Shape", "Size"]);

/**
 * Writes the ONNX model of named outputs. Parameters become initializers whose bytes stay in the file named by
 * `weights` or, without `weights`, inputs of the same name (for training).
 */
export function writeOnnx(
  outputs: Record<string, Tensor>,
  { weights, precision = "float32", webgpu = false }: Form & { weights?: (name: string) => WeightData } = {},
): OnnxModel {
  const order = topological(Object.values(outputs));
  let nodes: NodeProto[] = []; // of the graph or loop body that is being written
  const initializers: TensorProto[] = [];
  const inputs: ValueInfoProto[] = [];
  const names = new Map<Tensor, string>();
  const constants = new Map<string, string>();
  let count = 0;
  let launches = 0;
  const fresh = () => `v${count++}`;
  const taken = new Set<string>();
  const claim = (name: string): string => {
    if (taken.has(name) || /^v\d+$/.test(name)) throw new Error(`writeOnnx: the name ${name} is taken`);
    taken.add(name);
    return name;
  };
  const statistics = new Map<Tensor, { mean: string; inverse: string }>();
  for (const node of withBodies(order))
    if (node.op === "layerNormStatistic" && !statistics.has(node.inputs[0]))
      statistics.set(node.inputs[0], { mean: fresh(), inverse: fresh() });

  const addConstant = (value: HostTensor): string => {
    const bytes = new Uint8Array(value.data.buffer as ArrayBuffer, value.data.byteOffset, value.data.byteLength);
    const key = value.data.length <= 64 ? `${value.dtype}:${value.shape}:${bytes}` : undefined; // bytes distinguish 0 from -0
    const known = key && constants.get(key);
    if (known) return known;
    const name = fresh();
    if (key) constants.set(key, name);
    initializers.push(
      create(TensorProtoSchema, {
        name,
        dataType: onnxType[value.dtype],
        dims: value.shape.map(BigInt),
        rawData: bytes,
      }),
    );
    return name;
  };

  const emit: Emitter = {
    half: precision === "float16",
    webgpu,
    node(type, from, attributes = {}, { outputs: more = [], unused = 0, domain = "" } = {}) {
      const name = fresh();
      if (!views.has(type)) launches += type === "Concat" ? Math.ceil(from.length / concatInputs) : 1;
      nodes.push(
        create(NodeProtoSchema, {
          opType: type,
          domain,
          name,
          input: [...from],
          output: [name, ...more, ...Array.from({ length: unused }, fresh)],
          attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
        }),
      );
      return name;
    },
    once(key, make) {
      let name = shared.get(key);
      if (!name) shared.set(key, (name = make()));
      return name;
    },
    ints: (values) => addConstant({ dtype: "int64", shape: [values.length], data: BigInt64Array.from(values, BigInt) }),
    constant: addConstant,
    scalar: (value, dtype) => addConstant(scalar(value, dtype)),
    statistics: (node) => statistics.get(node) ?? null,
    quantized(weight) {
      const whole = is(weight, "slice") ? weight.inputs[0] : weight;
      const found = quantized.get(whole);
      if (!found || !is(weight, "slice")) return found ?? null;
      const { start, end } = weight.attributes;
      const rows = (from: string, axis: number) =>
        emit.node("Slice", [from, emit.ints([start]), emit.ints([end]), emit.ints([axis])]);
      return { ...found, data: rows(found.data, found.dtype === "q8" ? 1 : 0), scale: rows(found.scale, 0) };
    },
  };
  const shared = new Map<string, string>();
  // Quantized weights, which only linear layers support.
  const quantized = new Map<Tensor, { dtype: "q8" | "q4"; data: string; scale: string }>();

  const write = (node: Tensor): void => {
    if (is(node, "constant")) names.set(node, addConstant(node.attributes.value));
    else if (is(node, "input")) {
      names.set(node, claim(node.attributes.name));
      inputs.push(valueInfo(node.attributes.name, node.dtype, node.shape));
    } else if (is(node, "parameter")) {
      const { name } = node.attributes;
      const data = weights?.(name);
      if (data?.quantized) {
        const { dtype, shape, scale } = data.quantized;
        const scales = `${name}.scale`;
        initializers.push(external(name, { shape, dtype: dtype === "q8" ? "int8" : "uint8" }, data));
        initializers.push(external(scales, { shape: scale.shape, dtype: "float32" }, scale));
        quantized.set(node, { dtype, data: claim(name), scale: claim(scales) });
        return;
      }
      claim(name);
      if (data) initializers.push(external(name, node, data));
      else inputs.push(valueInfo(name, node.dtype, node.shape));
      names.set(node, data?.stored ? emit.node("Cast", [name], { to: { int: onnxType.float32 } }) : name);
    } else if (is(node, "loop")) writeLoop(node);
    else if (is(node, "loopResult")) names.set(node, loops.get(node.inputs[0])!.get(node.attributes.name)!);
    else if (!is(node, "slice") || !quantized.has(node.inputs[0])) {
      const onnx = operations[node.op].onnx as (e: Emitter, inputs: string[], node: Tensor) => string;
      const from = node.inputs.map((x) => names.get(x)!);
      names.set(node, onnx(emit, from, node));
    }
  };

  // The body of a Loop refers to outside values by name; sums are carried from round to round.
  const loops = new Map<Tensor, Map<string, string>>();
  const writeLoop = (node: Tensor<"loop">): void => {
    const { index, results } = node.attributes;
    const sums = results.filter(({ how }) => how === "sum");
    const sorted = [...sums, ...results.filter(({ how }) => how === "stack")];
    const zeros = sums.map(({ value }) => emit.node("ConstantOfShape", [emit.ints(value.shape as number[])]));
    const outside = nodes;
    nodes = [];
    const [round, going, goOn] = [fresh(), fresh(), fresh()];
    names.set(index, round);
    loopBody(node).forEach(write);
    nodes.push(create(NodeProtoSchema, { opType: "Identity", input: [going], output: [goOn] }));
    const before = sums.map(fresh);
    const after = sorted.map(({ value }, i) =>
      i < sums.length ? emit.node("Add", [before[i], names.get(value)!]) : emit.node("Identity", [names.get(value)!]),
    );
    const body = create(GraphProtoSchema, {
      name: fresh(),
      node: nodes,
      input: [
        valueInfo(round, "int64", []),
        valueInfo(going, "bool", []),
        ...sums.map(({ value }, i) => valueInfo(before[i], value.dtype, value.shape)),
      ],
      output: [
        valueInfo(goOn, "bool", []),
        ...sorted.map(({ value }, i) => valueInfo(after[i], value.dtype, value.shape)),
      ],
    });
    nodes = outside;
    const found = sorted.map(fresh);
    nodes.push(
      create(NodeProtoSchema, {
        opType: "Loop",
        name: fresh(),
        input: [names.get(node.inputs[0])!, "", ...zeros],
        output: found,
        attribute: [create(AttributeProtoSchema, { name: "body", type: Kind.GRAPH, g: body })],
      }),
    );
    loops.set(node, new Map(sorted.map(({ name }, i) => [name, found[i]])));
  };

  order.forEach(write);
  for (const [name, tensor] of Object.entries(outputs))
    nodes.push(create(NodeProtoSchema, { opType: "Identity", input: [names.get(tensor)!], output: [claim(name)] }));

  const version = BigInt(opset(order));
  const model = create(ModelProtoSchema, {
    irVersion: version === 21n ? 10n : 11n,
    producerName: "fractalgen",
    opsetImport: [{ domain: "", version }, ...(quantized.size > 0 ? [{ domain: contributed, version: 1n }] : [])],
    graph: {
      name: "fractalgen",
      node: nodes,
      initializer: initializers,
      input: inputs,
      output: Object.entries(outputs).map(([name, { dtype, shape }]) => valueInfo(name, dtype, shape)),
    },
  });
  return {
    bytes: toBinary(ModelProtoSchema, model),
    inputs: inputs.map(({ name }) => name!),
    outputs: Object.keys(outputs),
    graph: outputs,
    launches,
    multipliesBytes: [...quantized.values()].some(({ dtype }) => dtype === "q8"),
  };
}

/** ONNX opset 21, which all execution providers support in full, or 23 if one of its operators is used. */
const opset = (order: readonly Tensor[]): 21 | 23 =>
  withBodies(order).some(({ op }) => op === "rmsNorm" || op === "rotary") ? 23 : 21;

/** The opset of the models that `writeOnnx` writes, and the first release of onnxruntime that runs it. */
export function requirements(outputs: readonly Record<string, Tensor>[]): { opset: number; onnxruntime: string } {
  const newest = Math.max(...outputs.map((one) => opset(topological(Object.values(one)))));
  return { opset: newest, onnxruntime: newest === 23 ? "1.23" : "1.18" };
}

/** The tensors, including those in loop bodies. */
const withBodies = (order: readonly Tensor[]): Tensor[] =>
  order.flatMap((node) => (is(node, "loop") ? [...loopBody(node), node] : [node]));

/**
 * A model that tests byte products: `y` [1, 1] int32 is the sum of 64 products of 255 and 127. Processors without
 * dot-product instructions add pairs of such products in 16 bits, which saturate; the exact result is 2072640.
 */
export function byteProducts(): Uint8Array {
  const tensor = (name: string, type: DType, dims: number[], value: number) =>
    create(TensorProtoSchema, {
      name,
      dataType: onnxType[type],
      dims: dims.map(BigInt),
      rawData: new Uint8Array(dims.reduce((a, b) => a * b, 1)).fill(value),
    });
  const model = create(ModelProtoSchema, {
    irVersion: 10n,
    opsetImport: [{ domain: "", version: 21n }],
    graph: {
      name: "fractalgen",
      node: [create(NodeProtoSchema, { opType: "MatMulInteger", input: ["x", "w"], output: ["y"] })],
      initializer: [tensor("w", "int8", [64, 1], 127)],
      input: [valueInfo("x", "uint8", [1, 64])],
      output: [valueInfo("y", "int32", [1, 1])],
    },
  });
  return toBinary(ModelProtoSchema, model);
}

function scalar(value: number, dtype: DType): HostTensor {
  if (dtype === "float32") return float32([value], []);
  if (dtype === "int32") return int32([value], []);
  if (dtype === "uint32") return { dtype, shape: [], data: Uint32Array.of(value) };
  if (dtype === "int64") return { dtype, shape: [], data: BigInt64Array.of(BigInt(value)) };
  throw new Error(`no constants of type ${dtype}`);
}

function attribute(name: string, value: NodeAttribute) {
  if ("int" in value) return create(AttributeProtoSchema, { name, type: Kind.INT, i: BigInt(value.int) });
  if ("ints" in value) return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: value.ints.map(BigInt) });
  if ("string" in value)
    return create(AttributeProtoSchema, { name, type: Kind.STRING, s: new TextEncoder().encode(value.string) });
  return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: value.float });
}

function external(
  name: string,
  { shape, dtype }: Pick<Tensor, "shape" | "dtype">,
  { file, offset, bytes, stored }: WeightData,
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: stored ? onnxHalf[stored] : onnxType[dtype],
    dims: shape.map((d) => BigInt(d)),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [
      { key: "location", value: file },
      { key: "offset", value: String(offset) },
      { key: "length", value: String(bytes) },
    ],
  });
}

function valueInfo(name: string, dtype: DType, shape: Shape): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: "tensorType",
        value: {
          elemType: onnxType[dtype],
          shape: {
            dim: shape.map((d) =>
              typeof d === "number"
                ? { value: { case: "dimValue" as const, value: BigInt(d) } }
                : { value: { case: "dimParam" as const, value: d } },
            ),
          },
        },
      },
    },
  });
}
