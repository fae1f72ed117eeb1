/** Sums, maxima and normalisations. */

import { add, div, expandLike, make, mean, mul, oneHot, reshape, softmax, sqrt, sub, sum } from "../build.ts";
import { float32 } from "../../core/arrays.ts";
import { showShape, type Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { Row } from "./row.ts";

const reduced = (shape: Shape, axes: readonly number[], keep: boolean): Shape =>
  keep ? shape.map((d, i) => (axes.includes(i) ? 1 : d)) : shape.filter((_, i) => !axes.includes(i));

const last = { axis: { int: -1 } };

const isOnes = (x: Tensor): boolean =>
  x.op === "constant" && Array.prototype.every.call((x as Tensor<"constant">).attributes.value.data, (v) => v === 1);

export const reduce = {
  sum: {
    shape: ([x], { axes, keep }) => ({ shape: reduced(x.shape, axes, keep), dtype: x.dtype }),
    // Sums over many rows as a product with a row of ones, which is at least twice as fast as ReduceSum on a CPU.
    onnx: (emit, [x], { inputs: [{ shape }], attributes: { axes, keep } }) => {
      if (emit.webgpu || shape.length !== 2 || axes.length !== 1 || axes[0] !== 0 || keep)
        return emit.node("ReduceSum", [x, emit.ints(axes)], { keepdims: { int: +keep } });
      const count = emit.node("Shape", [x], { start: { int: 0 }, end: { int: 1 } });
      const ones = emit.node("Expand", [
        emit.constant(float32([1], [1, 1])),
        emit.node("Concat", [emit.ints([1]), count], { axis: { int: 0 } }),
      ]);
      return emit.node("Reshape", [emit.node("MatMul", [ones, x]), emit.ints([-1])]);
    },
    gradient: ({ inputs: [x], attributes: { axes } }, dy) => [expandLike(reshape(dy, reduced(x.shape, axes, true)), x)],
  } satisfies Row<"sum">,

  mean: {
    shape: ([x], { axis }) => ({ shape: reduced(x.shape, [axis], true), dtype: x.dtype }),
    onnx: (emit, [x], { attributes: { axis } }) => emit.node("ReduceMean", [x, emit.ints([axis])]),
    gradient: ({ inputs: [x], attributes: { axis } }, dy) => {
      const length = x.shape[axis];
      if (typeof length !== "number") throw new Error(`mean: no gradient along the symbolic size ${length}`);
      return [expandLike(mul(dy, 1 / length), x)];
    },
  } satisfies Row<"mean">,

  max: {
    shape: ([x], { axis }) => ({ shape: reduced(x.shape, [axis], true), dtype: x.dtype }),
    onnx: (emit, [x], { attributes: { axis } }) => emit.node("ReduceMax", [x, emit.ints([axis])]),
    gradient: "unwritten",
  } satisfies Row<"max">,

  softmax: {
    shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
    onnx: (emit, [x]) => emit.node("Softmax", [x], last),
    gradient: (y, dy) => {
      const weighted = mul(dy, y);
      return [sub(weighted, mul(y, sum(weighted, [-1], { keep: true })))];
    },
  } satisfies Row<"softmax">,

  crossEntropy: {
    shape: ([logits, target]) => {
      if (logits.shape.length !== 2 || target.shape.length !== 1 || logits.shape[0] !== target.shape[0])
        throw new Error(`crossEntropy: logits ${showShape(logits.shape)} and target ${showShape(target.shape)} differ`);
      return { shape: target.shape, dtype: "float32" };
    },
    onnx: (emit, [logits, target]) => {
      const column = emit.node("Unsqueeze", [target, emit.ints([1])]);
      if (emit.webgpu) {
        // log(sum(exp(x - m))) - (x - m) at the target, with m the maximum
        const kept = { keepdims: { int: 1 } };
        const shifted = emit.node("Sub", [logits, emit.node("ReduceMax", [logits, emit.ints([1])], kept)]);
        const total = emit.node("Log", [emit.node("ReduceSum", [emit.node("Exp", [shifted]), emit.ints([1])], kept)]);
        const own = emit.node("GatherElements", [shifted, column], { axis: { int: 1 } });
        return emit.node("Squeeze", [emit.node("Sub", [total, own]), emit.ints([1])]);
      }
      const likelihood = emit.node("GatherElements", [emit.node("LogSoftmax", [logits], last), column], {
        axis: { int: 1 },
      });
      return emit.node("Neg", [emit.node("Squeeze", [likelihood, emit.ints([1])])]);
    },
    gradient: ({ inputs: [logits, target] }, dy) => {
      const excess = sub(softmax(logits), oneHot(target, logits.shape[1] as number));
      return [mul(excess, reshape(dy, [dy.shape[0], 1])), "zero"];
    },
  } satisfies Row<"crossEntropy">,

  layerNorm: {
    shape: ([x, weight, bias]) => {
      for (const { shape } of [weight, bias])
        if (shape.length !== 1 || shape[0] !== x.shape.at(-1))
          throw new Error(`layerNorm: weight or bias is ${showShape(shape)}, expected [${x.shape.at(-1)}]`);
      return { shape: x.shape, dtype: x.dtype };
    },
    onnx: (emit, inputs, node) => {
      const attributes = { axis: { int: -1 }, epsilon: { float: node.attributes.eps } };
      const statistics = emit.statistics(node);
      return statistics
        ? emit.node("LayerNormalization", inputs, attributes, { outputs: [statistics.mean, statistics.inverse] })
        : emit.node("LayerNormalization", inputs, attributes);
    },
    gradient: (y, dy) => {
      const [x, weight] = y.inputs;
      const inverse = make("layerNormStatistic", [y], { which: "inverse" });
      // Without learned parameters, the result is the normalised value itself.
      const normal = isOnes(weight) ? y : mul(sub(x, make("layerNormStatistic", [y], { which: "mean" })), inverse);
      const rest = [...x.shape.keys()].slice(0, -1);
      const dNormal = isOnes(weight) ? dy : mul(dy, weight);
      const shifted = sub(sub(dNormal, mean(dNormal)), mul(normal, mean(mul(dNormal, normal))));
      return [mul(shifted, inverse), sum(mul(dy, normal), rest), sum(dy, rest)];
    },
  } satisfies Row<"layerNorm">,

  rmsNorm: {
    shape: ([x, weight]) => {
      if (weight.shape.length !== 1 || weight.shape[0] !== x.shape.at(-1))
        throw new Error(`rmsNorm: the weight is ${showShape(weight.shape)}, expected [${x.shape.at(-1)}]`);
      return { shape: x.shape, dtype: x.dtype };
    },
    onnx: (emit, inputs, { attributes: { eps } }) =>
      emit.node("RMSNormalization", inputs, { axis: { int: -1 }, epsilon: { float: eps } }),
    gradient: ({ inputs: [x, weight], attributes: { eps } }, dy) => {
      const inverse = div(1, sqrt(add(mean(mul(x, x)), eps)));
      const normal = mul(x, inverse);
      const dNormal = mul(dy, weight);
      const dx = mul(sub(dNormal, mul(normal, mean(mul(dNormal, normal)))), inverse);
      return [dx, sum(mul(dy, normal), [...x.shape.keys()].slice(0, -1))];
    },
  } satisfies Row<"rmsNorm">,

  layerNormStatistic: {
    shape: ([y]) => ({ shape: [...y.shape.slice(0, -1), 1], dtype: y.dtype }),
    onnx: (emit, _, { inputs: [y], attributes: { which } }) => emit.statistics(y)![which],
    gradient: "unwritten",
  } satisfies Row<"layerNormStatistic">,

  cumulativeSum: {
    shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
    onnx: (emit, [x]) => emit.node("CumSum", [x, emit.scalar(-1, "int32")]),
    gradient: "unwritten",
  } satisfies Row<"cumulativeSum">,

  descending: {
    shape: ([x]) => {
      if (typeof x.shape.at(-1) !== "number")
        throw new Error(`descending: the last axis of ${showShape(x.shape)} has no known length`);
      return { shape: x.shape, dtype: x.dtype };
    },
    // TopK is the only ONNX operator that sorts; its indices are not used.
    onnx: (emit, [x], { shape }) => emit.node("TopK", [x, emit.ints([shape.at(-1) as number])], {}, { unused: 1 }),
    gradient: "unwritten",
  } satisfies Row<"descending">,
};
