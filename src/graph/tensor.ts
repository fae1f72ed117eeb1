/** A tensor is a node of the graph: the operation that makes it, and from what. Knows no values. */

import type { DType, HostTensor } from "../core/arrays.ts";
import type { Dim, Shape } from "./shape.ts";

/** What each operation needs to know beside its inputs. The table in operations.ts has one row for each. */
export interface Attributes {
  input: { name: string; dtype: DType; shape: Shape };
  parameter: { name: string; shape: readonly number[] };
  constant: { value: HostTensor };
  add: {};
  sub: {};
  mul: {};
  div: {};
  maximum: {};
  neg: {};
  exp: {};
  log: {};
  sqrt: {};
  erf: {};
  sigmoid: {};
  gelu: {};
  cast: { to: DType };
  round: {};
  /** The value of its input, through which no gradient flows back. */
  stopGradient: {};
  clip: { low: number; high: number };
  less: {};
  where: {};
  /** 2-d: Gemm with either side transposed; more dimensions: batched, the last two multiply. */
  matmul: { transA: boolean; transB: boolean };
  /** x [.., E] times W [D, E] transposed, plus a bias [D] where there is one. */
  linear: {};
  transpose: { perm: readonly number[] };
  reshape: { shape: Shape };
  concat: { axis: number };
  /** x [N, ..], bounds [n + 1] and the index i of a loop: rows bounds[i] to bounds[i + 1], `rows` of them. */
  rowsBetween: { rows: Dim };
  slice: { axis: number; start: number; end: number };
  /** Zeros before and after along one axis. */
  pad: { axis: number; before: number; after: number };
  sum: { axes: readonly number[]; keep: boolean };
  mean: { axis: number };
  /** Broadcasts to the shape of the second input, which gives nothing else. */
  expandLike: {};
  max: { axis: number };
  softmax: {};
  /** Per row, -log softmax(logits)[target]: logits [N, V], target [N] -> [N]. */
  crossEntropy: {};
  /** Along the last axis: (x - mean) / sqrt(variance + eps) * weight + bias. */
  layerNorm: { eps: number };
  /** Along the last axis: x / sqrt(mean(x^2) + eps) * weight. */
  rmsNorm: { eps: number };
  /** The mean or the inverse deviation that the layerNorm given as input computed on its way. */
  layerNormStatistic: { which: "mean" | "inverse" };
  /** Rows of a table [V, D] by index (any shape): gradients of a row that is taken more than once add up. */
  embedding: {};
  /** Rows of x [N, D] by index; index N is a row of zeros. `inverse`, [N, F], names the results (M of them) that a row went to, or M. */
  gatherRows: {};
  /** For each row of a batch, tokens by index: x [B, T, D], index [B, R] -> [B, R, D]. */
  gatherTokens: {};
  oneHot: { depth: number };
  /** x [.., T, W], cosines and sines [P, W/2], positions [1, T]: pairs of neighbouring values, turned by their token's angles. */
  rotary: {};
  /** x [n, ..] at the index i of a loop: [..]. */
  pickAt: {};
  /** How often a loop has gone round, int64: only inside of one. */
  loopIndex: {};
  /** Goes round as often as its first input says; the others are what the results need from outside. */
  loop: { index: Tensor; results: readonly LoopResult[] };
  loopResult: { name: string };
  cumulativeSum: {};
  descending: {};
  /** Images x [B, C, H, W], weight [D, C, h, w], and a bias [D] where there is one. Padding is zeros. */
  convolution: Omit<Window, "size"> & { dilations: Pair };
  /** What a convolution's result [B, D, h, w] and its weight [D, C, ..] say of its input, whose sides these are. */
  convolutionBack: Omit<Window, "size"> & { dilations: Pair; sides: Pair };
  /** Padding is never the largest. */
  maxPool: Window;
  averagePool: Window & { countPadding: boolean };
  /** Bilinear without half pixels: side i of the result lies at i * side / (new side), as in TensorFlow 1. */
  resize: { height: number; width: number };
  relu: {};
  /** 1 / keep with probability keep, else 0, in the shape of the first input, by a hash of (seed, salt, position). A third input: where positions start. */
  dropoutMask: { keep: number; salt: number };
}

/** One number along the height of images and one along their width. */
export type Pair = readonly [number, number];

/** A window that goes over images; so much padding stands on both sides. */
export interface Window {
  size: Pair;
  strides: Pair;
  padding: Pair;
}

/** What a loop gives: the sum over all rounds, or the rounds' values side by side on a new first axis. */
export interface LoopResult {
  name: string;
  value: Tensor;
  how: "sum" | "stack";
}

/** The operations by name. */
export type OpName = keyof Attributes;

/** A node of a graph: an operation, its inputs, and the shape and type of its result. */
export interface Tensor<K extends OpName = OpName> {
  readonly op: K;
  readonly attributes: Attributes[K];
  readonly inputs: readonly Tensor[];
  readonly shape: Shape;
  readonly dtype: DType;
}

/** The size of an axis; negative axes count from the end. */
export const dim = (tensor: Tensor, axis: number): Dim => tensor.shape.at(axis)!;

/** All tensors that the given ones depend on, themselves included, inputs before what is made of them. */
export function topological(outputs: readonly Tensor[]): Tensor[] {
  const seen = new Set<Tensor>();
  const order: Tensor[] = [];
  const stack: [Tensor, number][] = [];
  for (const output of outputs) {
    if (seen.has(output)) continue;
    seen.add(output);
    stack.push([output, 0]);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const next = top[0].inputs[top[1]++];
      if (next === undefined) {
        order.push(top[0]);
        stack.pop();
      } else if (!seen.has(next)) {
        seen.add(next);
        stack.push([next, 0]);
      }
    }
  }
  return order;
}

/** Whether a tensor is made by this operation, for its attributes. */
export function is<K extends OpName>(tensor: Tensor, op: K): tensor is Tensor<K> {
  return tensor.op === op;
}

/** What a loop computes in each round, inputs before what is made of them. */
export function loopBody({ attributes: { index, results } }: Pick<Tensor<"loop">, "attributes">): Tensor[] {
  const inside = new Set<Tensor>([index]);
  for (const node of topological(results.map(({ value }) => value)))
    if (node.inputs.some((x) => inside.has(x))) inside.add(node);
  inside.delete(index);
  return [...inside];
}
