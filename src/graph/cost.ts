/** How many floating-point operations a graph takes for given sizes. Counts products, which are nearly all of them. */

import { cut, type Dim } from "./shape.ts";
import { type Tensor, topological } from "./tensor.ts";

export type Sizes = ReadonlyMap<string, number>;

/** The number that a dimension is: `sizeOf("2*R", R = 3)` is 6. */
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

/** The symbols of a graph's inputs, from the shapes that were given for them by name. */
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

/** Multiplications and additions of all matrix products. */
export function floatingPointOperations(graph: Record<string, Tensor>, sizes: Sizes): number {
  const size = (dim: Dim) => sizeOf(dim, sizes);
  let total = 0;
  for (const tensor of topological(Object.values(graph))) {
    if (tensor.op !== "matmul" && tensor.op !== "linear") continue;
    const [a] = tensor.inputs;
    const transposed = tensor.op === "matmul" && (tensor as Tensor<"matmul">).attributes.transA;
    const inner = a.shape.at(transposed ? -2 : -1)!;
    total += 2 * tensor.shape.map(size).reduce((x, y) => x * y, 1) * size(inner);
  }
  return total;
}
