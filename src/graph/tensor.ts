/** A tensor is a node of the graph: an operation and its inputs. Knows no values. */

import type { DType, HostTensor } from "../core/arrays.ts";
import type { Dim, Shape } from "./shape.ts";

/**
 * The attributes of each operation, besides its inputs. The table in operations/table.ts has one row for each
 * operation.
 */
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
  /** The identity, which blocks the gradient. */
  stopGradient: {};
  clip: { low: number; high: number };
  less: {};
  where: {};
  /** In two dimensions, Gemm with either side transposed; with more, batched over all but the last two. */
  matmul: { transA: boolean; transB: boolean };
  /** x [.., E] times W [D, E] transposed, plus an optional bias [D]. */
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
  /** Broadcasts to the shape of the second input, whose values are not used. */
  expandLike: {};
  max: { axis: number };
  softmax: {};
  /** Per row, -log softmax(logits)[target]: logits [N, V], target [N] -> [N]. */
  crossEntropy: {};
  /** Along the last axis: (x - mean) / sqrt(variance + eps) * weight + bias. */
  layerNorm: { eps: number };
  /** Along the last axis: x / sqrt(mean(x^2) + eps) * weight. */
  rmsNorm: { eps: number };
  /** The mean or the inverse standard deviation computed by the layerNorm that is its input. */
  layerNormStatistic: { which: "mean" | "inverse" };
  /** Rows of a table [V, D] by index (any shape). The gradients of a row used more than once are summed. */
  embedding: {};
  /**
   * Rows of x [N, D] by index; index N is a row of zeros. `inverse` [N, F] lists which of the M results each row was
   * copied to, padded with M.
   */
  gatherRows: {};
  /** For each row of a batch, tokens by index: x [B, T, D], index [B, R] -> [B, R, D]. */
  gatherTokens: {};
  oneHot: { depth: number };
  /**
   * x [.., T, W], cosines and sines [P, W/2], positions [1, T]: rotates pairs of neighbouring values by their token's
   * angles.
   */
  rotary: {};
  /** x [n, ..] at the index i of a loop: [..]. */
  pickAt: {};
  /** Number of the current round of a loop, int64; only inside a loop. */
  loopIndex: {};
  /** Runs the number of rounds given by its first input; the other inputs are outside values that the results need. */
  loop: { index: Tensor; results: readonly LoopResult[] };
  loopResult: { name: string };
  cumulativeSum: {};
  descending: {};
  /** Images x [B, C, H, W], weight [D, C, h, w], and an optional bias [D]. Pads with zeros. */
  convolution: Omit<Window, "size"> & { dilations: Pair };
  /**
   * The gradient of a convolution for its input, whose sides are given, from that of its result [B, D, h, w] and its
   * weight [D, C, ..].
   */
  convolutionBack: Omit<Window, "size"> & { dilations: Pair; sides: Pair };
  /** Padding is never the maximum. */
  maxPool: Window;
  averagePool: Window & { countPadding: boolean };
  /** Bilinear without half pixels: coordinate i of the result is at i * side / (new side), as in TensorFlow 1. */
  resize: { height: number; width: number };
  relu: {};
  /**
   * 1 / keep with probability keep, otherwise 0, in the shape of the first input, by a hash of (seed, salt, position).
   * An optional third input is the first position.
   */
  dropoutMask: { keep: number; salt: number };
}

/** A number for the height of images and one for the width. */
export type Pair = readonly [number, number];

/** A window sliding over images, with padding on both sides of each axis. */
export interface Window {
  size: Pair;
  strides: Pair;
  padding: Pair;
}

/** A result of a loop: the sum over all rounds, or the values of all rounds stacked on a new first axis. */
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

/** All tensors that the given ones depend on, including themselves, in topological order (inputs first). */
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

/** Whether a tensor is the result of this operation; narrows the type of its attributes. */
export function is<K extends OpName>(tensor: Tensor, op: K): tensor is Tensor<K> {
  return tensor.op === op;
}

/** The tensors that a loop computes in each round, in topological order. */
export function loopBody({ attributes: { index, results } }: Pick<Tensor<"loop">, "attributes">): Tensor[] {
  const inside = new Set<Tensor>([index]);
  for (const node of topological(results.map(({ value }) => value)))
    if (node.inputs.some((x) => inside.has(x))) inside.add(node);
  inside.delete(index);
  return [...inside];
}
