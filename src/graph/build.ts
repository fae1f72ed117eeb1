/**
 * Functions that create tensors, one per operation. Numbers become constants, and shapes are checked on creation.
 *
 * This file and those in `operations/` import each other. This is the only import cycle: these functions check shapes
 * with an operation's row, and the row's gradient is written with these functions. Neither is called while files are
 * loading, so the order of loading does not matter.
 */

import { type DType, float32, type HostTensor } from "../core/arrays.ts";
import { operations } from "./operations/table.ts";
import { type Dim, type Shape, over, sameShape, showShape, times } from "./shape.ts";
import { mapped, named, type Tree } from "./tree.ts";
import {
  type Attributes,
  dim,
  loopBody,
  type LoopResult,
  type OpName,
  type Pair,
  type Tensor,
  type Window,
} from "./tensor.ts";

/** A tensor, or a number that becomes a float32 scalar constant. */
export type Operand = Tensor | number;

/**
 * A node of any operation. Its shape rule checks the inputs and throws an `Error` that names the shapes if they do not
 * fit.
 */
export function make<K extends OpName>(op: K, inputs: readonly Tensor[], attributes: Attributes[K]): Tensor<K> {
  const { shape, dtype } = operations[op].shape(inputs, attributes);
  return { op, attributes, inputs, shape, dtype };
}

/** A value supplied at each run. */
export const input = (name: string, dtype: DType, shape: Shape): Tensor => make("input", [], { name, dtype, shape });
/** A float32 weight, by its name in the model's safetensors file. */
export const parameter = (name: string, shape: readonly number[]): Tensor => make("parameter", [], { name, shape });
/** A fixed value that is stored in the graph. */
export const constant = (value: HostTensor): Tensor => make("constant", [], { value });

const lift = (x: Operand): Tensor => (typeof x === "number" ? constant(float32([x], [])) : x);

/** a + b, elementwise with broadcasting, as for all operations of two operands. */
export const add = (a: Operand, b: Operand): Tensor => make("add", [lift(a), lift(b)], {});
/** a - b, elementwise. */
export const sub = (a: Operand, b: Operand): Tensor => make("sub", [lift(a), lift(b)], {});
/** a b, elementwise; `matmul` is the matrix product. */
export const mul = (a: Operand, b: Operand): Tensor => make("mul", [lift(a), lift(b)], {});
/** a / b, elementwise. */
export const div = (a: Operand, b: Operand): Tensor => make("div", [lift(a), lift(b)], {});
/** The larger of a and b, elementwise. It has no gradient. */
export const maximum = (a: Operand, b: Operand): Tensor => make("maximum", [lift(a), lift(b)], {});
/** a < b, elementwise, as bool. It has no gradient. */
export const less = (a: Operand, b: Operand): Tensor => make("less", [lift(a), lift(b)], {});
/** `condition ? a : b`, elementwise. */
export const where = (condition: Tensor, a: Operand, b: Operand): Tensor =>
  make("where", [condition, lift(a), lift(b)], {});
/** -x, elementwise. */
export const neg = (x: Tensor): Tensor => make("neg", [x], {});
/** e to the power of x, elementwise. */
export const exp = (x: Tensor): Tensor => make("exp", [x], {});
/** The natural logarithm, elementwise. */
export const log = (x: Tensor): Tensor => make("log", [x], {});
/** The square root, elementwise. */
export const sqrt = (x: Tensor): Tensor => make("sqrt", [x], {});
/** The error function, elementwise. */
export const erf = (x: Tensor): Tensor => make("erf", [x], {});
/** 1 / (1 + exp(-x)), elementwise. */
export const sigmoid = (x: Tensor): Tensor => make("sigmoid", [x], {});
/** x times the normal distribution function of x, exactly (no tanh). */
export const gelu = (x: Tensor): Tensor => make("gelu", [x], {});
/** Rounds to the nearest whole number, halves to even. */
export const round = (x: Tensor): Tensor => make("round", [x], {});
/** The same value, without a gradient. */
export const stopGradient = (x: Tensor): Tensor => make("stopGradient", [x], {});
/** x clipped to low .. high, elementwise. It has no gradient. */
export const clip = (x: Tensor, low: number, high: number): Tensor => make("clip", [x], { low, high });
/** The same values with another element type. */
export const cast = (x: Tensor, to: DType): Tensor => (x.dtype === to ? x : make("cast", [x], { to }));

/**
 * The matrix product [.., N, E] x [.., E, M] -> [.., N, M]; either side may be passed transposed, with its last two
 * axes swapped.
 */
export const matmul = (a: Tensor, b: Tensor, { transA = false, transB = false } = {}): Tensor =>
  make("matmul", [a, b], { transA, transB });
/** x [.., E], weight [D, E], bias [D] -> [.., D] */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor): Tensor =>
  make("linear", bias ? [x, weight, bias] : [x, weight], {});

/** Axis i of the result is axis `perm[i]` of x. */
export const transpose = (x: Tensor, perm: readonly number[]): Tensor =>
  perm.every((axis, i) => axis === i) ? x : make("transpose", [x], { perm });
/** The same values in raster order with another shape of the same size; sizes may be symbols, as in `Dim`. */
export const reshape = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : make("reshape", [x], { shape });
/** Merges all axes but the last: [.., D] -> [N, D]. */
export const flatten = (x: Tensor): Tensor => reshape(x, [rows(x), dim(x, -1)]);
/** The number of rows along the last axis. */
export const rows = (x: Tensor): Dim => over(times(...x.shape), dim(x, -1));
/** Concatenates tensors along an axis; all other sizes must be equal. */
export const concat = (xs: readonly Tensor[], axis: number): Tensor =>
  xs.length === 1 ? xs[0] : make("concat", xs, { axis: axis < 0 ? axis + xs[0].shape.length : axis });
/** Stacks tensors of equal shape on a new first axis. */
export const stack = (xs: readonly Tensor[]): Tensor =>
  concat(
    xs.map((x) => reshape(x, [1, ...x.shape])),
    0,
  );
/** x[start:end] along an axis of known length. */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const along = axis < 0 ? axis + x.shape.length : axis;
  return start === 0 && end === x.shape[along] ? x : make("slice", [x], { axis: along, start, end });
}
/** x[.., at, ..] along an axis of known length, which is removed. */
export function pick(x: Tensor, axis: number, at: number): Tensor {
  const along = axis < 0 ? axis + x.shape.length : axis;
  const one = slice(x, along, at, at + 1);
  return reshape(
    one,
    one.shape.filter((_, i) => i !== along),
  );
}
/** Pads x with zeros before and after along one axis. */
export const pad = (x: Tensor, axis: number, before: number, after: number): Tensor =>
  make("pad", [x], { axis, before, after });
/** x broadcast to the shape of `like`. */
export const expandLike = (x: Tensor, like: Tensor): Tensor =>
  sameShape(x.shape, like.shape) ? x : make("expandLike", [x, like], {});

/** The sum over some axes, which are removed, or kept with length 1 if `keep` is set. */
export const sum = (x: Tensor, axes: readonly number[], { keep = false } = {}): Tensor =>
  axes.length === 0 ? x : make("sum", [x], { axes: axes.map((a) => (a < 0 ? a + x.shape.length : a)), keep });
/** The mean along one axis, which is kept with length 1. */
export const mean = (x: Tensor, axis = -1): Tensor =>
  make("mean", [x], { axis: axis < 0 ? axis + x.shape.length : axis });
/** The maximum along one axis, which is kept with length 1. It has no gradient. */
export const max = (x: Tensor, axis = -1): Tensor =>
  make("max", [x], { axis: axis < 0 ? axis + x.shape.length : axis });
/** exp(x) divided by its sum, along the last axis. */
export const softmax = (x: Tensor): Tensor => make("softmax", [x], {});
/** logits [N, V], target [N] int64 -> -log p(target) [N], nats */
export const crossEntropy = (logits: Tensor, target: Tensor): Tensor => make("crossEntropy", [logits, target], {});
/** (x - mean) / sqrt(variance + eps) * weight + bias along the last axis; weight and bias [D]. */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, eps: number): Tensor =>
  make("layerNorm", [x, weight, bias], { eps });
/** x / sqrt(mean(x^2) + eps) * weight along the last axis; weight [D] (Zhang and Sennrich, 2019). */
export const rmsNorm = (x: Tensor, weight: Tensor, eps: number): Tensor => make("rmsNorm", [x, weight], { eps });
/** table [V, D], index any shape -> index.shape + [D] */
export const embedding = (table: Tensor, index: Tensor): Tensor => make("embedding", [table, index], {});
/** Gathers rows: x [N, D], index [..] -> index.shape + [D], zeros for index N. The gradient needs `inverse` [N, F]. */
export const gatherRows = (x: Tensor, index: Tensor, inverse?: Tensor): Tensor =>
  make("gatherRows", inverse ? [x, index, inverse] : [x, index], {});
/** Gathers tokens in each row of a batch: x [B, T, D], index [B, R] -> [B, R, D]. It has no gradient. */
export const gatherTokens = (x: Tensor, index: Tensor): Tensor => make("gatherTokens", [x, index], {});
/** One-hot encoding: index of any shape -> index.shape + [depth], float32. */
export const oneHot = (index: Tensor, depth: number): Tensor => make("oneHot", [index], { depth });
/**
 * x [.., T, W] with each pair (a, b) rotated to (a cos - b sin, b cos + a sin): tables [P, W/2], positions [1, T]
 * int64.
 */
export const rotary = (x: Tensor, { cos, sin, positions }: { cos: Tensor; sin: Tensor; positions: Tensor }): Tensor =>
  make("rotary", [x, cos, sin, positions], {});
/** Cumulative sums along the last axis. It has no gradient. */
export const cumulativeSum = (x: Tensor): Tensor => make("cumulativeSum", [x], {});
/** Sorts along the last axis, which has a known length, in descending order. */
export const descending = (x: Tensor): Tensor => make("descending", [x], {});

/** The strides of a window along height and width, and its padding on both sides; by default 1 and 0. */
export type Placing = Partial<Omit<Window, "size">>;
const everywhere = { strides: [1, 1], padding: [0, 0] } as const;

/** x [B, C, H, W], weight [D, C, h, w], bias [D] -> [B, D, H', W']; the inputs of a window are `dilations` apart. */
export const convolution = (
  x: Tensor,
  weight: Tensor,
  { bias, ...placing }: Placing & { bias?: Tensor; dilations?: Pair } = {},
): Tensor =>
  make("convolution", bias ? [x, weight, bias] : [x, weight], { ...everywhere, dilations: [1, 1], ...placing });
/** The largest value in each window of images [B, C, H, W]. */
export const maxPool = (x: Tensor, size: Window["size"], placing: Placing = {}): Tensor =>
  make("maxPool", [x], { size, ...everywhere, ...placing });
/** The mean of each window of images [B, C, H, W]; `countPadding` includes padding in the mean as zeros. */
export const averagePool = (
  x: Tensor,
  size: Window["size"],
  { countPadding = false, ...placing }: Placing & { countPadding?: boolean } = {},
): Tensor => make("averagePool", [x], { size, ...everywhere, ...placing, countPadding });
/** Resizes images [B, C, H, W] of any size to one size, bilinearly as in TensorFlow 1: no half pixels, no smoothing. */
export const resize = (x: Tensor, height: number, width: number): Tensor => make("resize", [x], { height, width });
/** The larger of x and 0, elementwise. */
export const relu = (x: Tensor): Tensor => make("relu", [x], {});

/** The entry of x [n, ..] for the current round of a loop: [..]. */
export const pickAt = (x: Tensor, index: Tensor): Tensor => make("pickAt", [x, index], {});
/** Rows of x [N, ..] from bounds[i] to bounds[i + 1], where i is the round of a loop; `rows` names their number. */
export const rowsBetween = (x: Tensor, bounds: Tensor, { index, rows }: { index: Tensor; rows: Dim }): Tensor =>
  make("rowsBetween", [x, bounds, index], { rows });

/**
 * Runs `count` rounds (an int64 scalar) and returns, in the same structure, the sum of each result over the rounds, or
 * its values stacked. Results are computed from `index`, the round; anything that does not depend on it is hoisted out
 * of the loop automatically. Throws if a result does not depend on the round.
 */
export function loop<Sum extends Tree<Tensor>, Stack extends Tree<Tensor>>(
  count: Tensor,
  index: Tensor,
  results: { sum?: Sum; stack?: Stack },
): { sum: Sum; stack: Stack } {
  const wanted = (["sum", "stack"] as const).flatMap((how) =>
    Object.entries(named(results[how], [how])).map(([name, value]): LoopResult => ({ name, value, how })),
  );
  const inside = new Set([index, ...loopBody({ attributes: { index, results: wanted } })]);
  const stray = wanted.find(({ value }) => !inside.has(value));
  if (stray) throw new Error(`loop: ${stray.name} ${showShape(stray.value.shape)} does not depend on the round`);
  const captured = new Set([...inside].flatMap(({ inputs }) => inputs.filter((x) => !inside.has(x))));
  const node = make("loop", [count, ...captured], { index, results: wanted });
  return mapped(results, (_, name): Tensor => make("loopResult", [node], { name })) as { sum: Sum; stack: Stack };
}
/** The number of the round, an int64 scalar, for use with `loop`. */
export const loopIndex = (): Tensor => make("loopIndex", [], {});

/**
 * Keeps each value of x with probability 1 - rate and scales it by 1 / (1 - rate). The mask depends on `seed`, `salt`
 * and the positions of the values, which count from `start`; `seed` and `start` are int32 scalars.
 */
export const dropout = (
  x: Tensor,
  rate: number,
  { seed, salt, start }: { seed: Tensor; salt: number; start?: Tensor },
): Tensor =>
  rate === 0 ? x : mul(x, make("dropoutMask", start ? [x, seed, start] : [x, seed], { keep: 1 - rate, salt }));
