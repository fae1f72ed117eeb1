/** The cost of a graph for given sizes: memory, and floating-point operations (of products, which dominate). */

import { bytesPerElement } from "../core/arrays.ts";
import { cut, type Dim } from "./shape.ts";
import { is, loopBody, type Tensor, topological } from "./tensor.ts";

/** The value of each symbol in shapes. */
export type Sizes = ReadonlyMap<string, number>;

/** The value of a dimension: `sizeOf("2*R", R = 3)` is 6. */
export function sizeOf(dim: Dim, sizes: Sizes): number {
  if (typeof dim === "number") return dim;
  const factor = (text: string): number => {
    if (text.startsWith("(")) return sizeOf(text.slice(1, -1), sizes);
    const value = /^\d+$/.test(text) ? Number(text) : sizes.get(text);
    if (value === undefined) throw new Error(`the size ${text} is not known`);
    return value;
  };
  return cut(dim, "+")
    .map((term) =>
      cut(term, "*")
        .map(factor)
        .reduce((a, b) => a * b, 1),
    )
    .reduce((a, b) => a + b, 0);
}

/** The values of the symbols in a graph's inputs, from the actual shapes of the inputs by name. */
export function boundSizes(
  graph: Record<string, Tensor>,
  shapes: Record<string, readonly number[]>,
): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const tensor of topological(Object.values(graph))) {
    if (tensor.op !== "input") continue;
    const { name } = (tensor as Tensor<"input">).attributes;
    tensor.shape.forEach((dim, axis) => {
      const symbol = typeof dim === "string" && /^(?:(\d+)\*)?([A-Za-z]\w*)$/.exec(dim);
      if (symbol && shapes[name]) sizes.set(symbol[2], shapes[name][axis] / Number(symbol[1] ?? 1));
    });
  }
  return sizes;
}

/** Multiplications and additions of all matrix products and convolutions. */
export function floatingPointOperations(graph: Record<string, Tensor>, sizes: Sizes): number {
  return operationsOf(topological(Object.values(graph)), sizes);
}

function operationsOf(order: readonly Tensor[], sizes: Sizes): number {
  const size = (dim: Dim) => sizeOf(dim, sizes);
  let total = 0;
  for (const tensor of order) {
    if (is(tensor, "loop")) {
      const body = loopBody(tensor);
      total += size("rounds") * operationsOf(body, sizesInside(body, sizes));
    }
    if (is(tensor, "convolution") || is(tensor, "convolutionBack")) {
      const [given, weight] = tensor.inputs;
      const places = is(tensor, "convolution") ? tensor : given; // the window positions
      total += [places.shape[0], ...places.shape.slice(2), ...weight.shape].map(size).reduce((x, y) => x * y, 2);
    }
    if (!is(tensor, "matmul") && !is(tensor, "linear")) continue;
    const [a] = tensor.inputs;
    const inner = a.shape.at(is(tensor, "matmul") && tensor.attributes.transA ? -2 : -1)!;
    total += 2 * tensor.shape.map(size).reduce((x, y) => x * y, 1) * size(inner);
  }
  return total;
}

/**
 * The minimum number of bytes that a run reads and writes: inputs, outputs and weights, once each. `weightBytes`
 * returns the size of a weight; embedding tables are not counted.
 */
export function leastBytes(
  graph: Record<string, Tensor>,
  sizes: Sizes,
  weightBytes: (name: string) => number,
): { values: number; weights: number } {
  const order = topological(Object.values(graph));
  const tables = new Set(order.filter((x) => is(x, "embedding")).map(({ inputs: [table] }) => table));
  const bytes = (x: Tensor) => bytesPerElement(x.dtype) * x.shape.reduce<number>((n, dim) => n * sizeOf(dim, sizes), 1);
  let values = Object.values(graph).reduce((sum, x) => sum + bytes(x), 0);
  let weights = 0;
  for (const x of order) {
    if (is(x, "input")) values += bytes(x);
    if (is(x, "parameter") && !tables.has(x)) weights += weightBytes(x.attributes.name);
  }
  return { values, weights };
}

/** The sizes inside a loop, where the rows split among the rounds have their average number per round. */
function sizesInside(body: readonly Tensor[], sizes: Sizes): Sizes {
  const inside = new Map(sizes);
  for (const tensor of body)
    if (is(tensor, "rowsBetween") && typeof tensor.attributes.rows === "string")
      inside.set(tensor.attributes.rows, sizeOf(tensor.inputs[0].shape[0], sizes) / sizeOf("rounds", sizes));
  return inside;
}

/**
 * The peak memory in bytes of the values of a run, if they are computed in the graph's order and each is kept until its
 * last use. Does not count inputs, weights or workspace of operations.
 */
export function peakBytes(graph: Record<string, Tensor>, sizes: Sizes): number {
  return peakOf(topological(Object.values(graph)), { last: Object.values(graph), sizes });
}

const views: ReadonlySet<string> = new Set([
  "input",
  "parameter",
  "constant",
  "reshape",
  "stopGradient",
  "loopResult",
  "loopIndex",
]);

/**
 * The largest tensor that is computed on a GPU, in bytes. WebGPU limits the size of a buffer, which onnxruntime does not
 * report; most GPUs allow two to four times as much.
 */
export const gpuTensorBytes = 2 ** 30;

/** The bytes of a graph's largest value, its inputs and parameters included. Loops are not looked into. */
export function largestBytes(graph: Record<string, Tensor>, sizes: Sizes): number {
  return topological(Object.values(graph)).reduce((most, x) => Math.max(most, bytesOf(x, sizes)), 0);
}

const bytesOf = ({ dtype, shape }: Tensor, sizes: Sizes): number =>
  bytesPerElement(dtype) * shape.reduce<number>((n, dim) => n * sizeOf(dim, sizes), 1);

function peakOf(order: readonly Tensor[], { last, sizes }: { last: readonly Tensor[]; sizes: Sizes }): number {
  // A reshaped tensor shares the original's memory, which is kept as long as either is used.
  const base = (x: Tensor): Tensor => (x.op === "reshape" || x.op === "stopGradient" ? base(x.inputs[0]) : x);
  const lastUse = new Map<Tensor, number>();
  order.forEach((node, at) => [node, ...node.inputs].forEach((x) => lastUse.set(base(x), at)));
  last.forEach((x) => lastUse.set(base(x), order.length));
  const ends = new Map<number, Tensor[]>();
  for (const [x, at] of lastUse) ends.set(at, [...(ends.get(at) ?? []), x]);
  const bytes = (x: Tensor) => (views.has(x.op) ? 0 : bytesOf(x, sizes));
  const here = new Set(order);
  let [now, peak] = [0, 0];
  order.forEach((node, at) => {
    if (is(node, "loop")) {
      const body = loopBody(node);
      const results = node.attributes.results.map(({ value }) => value);
      const inside = peakOf(body, { last: results, sizes: sizesInside(body, sizes) });
      peak = Math.max(peak, now + inside + results.reduce((sum, x) => sum + bytes(x), 0)); // the accumulated sums
    }
    now += bytes(node);
    peak = Math.max(peak, now);
    for (const x of ends.get(at) ?? []) if (here.has(x)) now -= bytes(x);
  });
  return peak;
}
