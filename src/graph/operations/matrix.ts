/** Products: matmul in all its transposed forms, and the linear layer. */

import { flatten, matmul, reshape, sum, transpose } from "../build.ts";
import { showShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { contributed, type Emitter, onnxType, type Row } from "./row.ts";

const lastTwo = (rank: number): number[] => [...Array(rank - 2).keys(), rank - 1, rank - 2];

const transposed = (emit: Emitter, x: string, rank: number): string =>
  emit.node("Transpose", [x], { perm: { ints: lastTwo(rank) } });

/**
 * x times a quantized weight. With eight bits, each row of x is scaled to bytes by its own maximum, so that rows do not
 * depend on each other, and the integers are multiplied exactly. With four bits, onnxruntime does something similar for
 * 32 values at a time. On processors without AVX-512 it sums a single row in another order than the rows of a batch, so
 * a single row gets a second one, of zeros.
 */
function inFewBits(
  emit: Emitter,
  x: string,
  { dtype, data, scale, node }: { dtype: "q8" | "q4"; data: string; scale: string; node: Tensor<"linear"> },
): string {
  const [width, inner] = [node.shape.at(-1) as number, node.inputs[0].shape.at(-1) as number];
  const outer = node.inputs[0].shape.slice(0, -1);
  const flat = outer.length > 1;
  const rows = flat ? emit.node("Reshape", [x, emit.ints([-1, inner])]) : x;
  const unflat = (y: string) => {
    if (!flat) return y;
    const shape = emit.node("Shape", [x], { start: { int: 0 }, end: { int: -1 } });
    return emit.node("Reshape", [y, emit.node("Concat", [shape, emit.ints([width])], { axis: { int: 0 } })]);
  };
  if (dtype === "q4") {
    const sizes = { K: { int: inner }, N: { int: width }, bits: { int: 4 }, block_size: { int: 32 } };
    const attributes = { ...sizes, accuracy_level: { int: 4 } };
    const count = emit.once(`rows ${outer}`, () => emit.node("Shape", [rows], { start: { int: 0 }, end: { int: 1 } }));
    const padding = emit.once(`second row ${outer}`, () => {
      const missing = emit.node("Max", [emit.node("Sub", [emit.ints([2]), count]), emit.ints([0])]);
      return emit.node("Concat", [emit.ints([0, 0]), missing, emit.ints([0])], { axis: { int: 0 } });
    });
    const padded = emit.node("Pad", [rows, padding]);
    const product = emit.node("MatMulNBits", [padded, data, scale], attributes, { domain: contributed });
    return unflat(emit.node("Slice", [product, emit.ints([0]), count, emit.ints([0])]));
  }
  const largest = emit.node("ReduceMax", [emit.node("Abs", [rows]), emit.ints([1])], { keepdims: { int: 1 } });
  // A row of zeros has the scale 0, so its product is 0 whatever its bytes are.
  const byRow = emit.node("Mul", [largest, emit.scalar(1 / 127, "float32")]); // [N, 1]
  const scales = emit.node("Squeeze", [byRow, emit.ints([1])]);
  const middle = emit.constant({ dtype: "uint8", shape: [], data: Uint8Array.of(128) });
  const middles = emit.once(`middles ${outer}`, () => emit.node("Expand", [middle, emit.node("Shape", [scales])]));
  const bytes = emit.node("QuantizeLinear", [rows, scales, middles], { axis: { int: 0 } });
  const product = emit.node(
    "MatMulIntegerToFloat",
    [bytes, data, emit.scalar(1, "float32"), scale, middle],
    {},
    { domain: contributed },
  );
  return unflat(emit.node("Mul", [product, byRow]));
}

/**
 * Computes a product of float32 tensors in the emitter's precision. In float16 only products lose precision: everything
 * between them, such as norms, softmax, sums and residuals, stays in float32. A weight's cast is done once, when the
 * model is loaded.
 */
function inPrecision(emit: Emitter, inputs: readonly string[], compute: (inputs: readonly string[]) => string): string {
  if (!emit.half) return compute(inputs);
  const half = (x: string) => emit.once(`half ${x}`, () => emit.node("Cast", [x], { to: { int: onnxType.float16 } }));
  return emit.node("Cast", [compute(inputs.map(half))], { to: { int: onnxType.float32 } });
}

export const matrix = {
  matmul: {
    shape: ([a, b], { transA, transB }) => {
      const rank = a.shape.length;
      const batch = a.shape.slice(0, -2);
      const [m, k] = transA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
      const [l, n] = transB ? [b.shape.at(-1)!, b.shape.at(-2)!] : [b.shape.at(-2)!, b.shape.at(-1)!];
      if (rank < 2 || b.shape.length !== rank || batch.some((dim, i) => dim !== b.shape[i]) || k !== l)
        throw new Error(
          `matmul: sizes differ: ${showShape(a.shape)}${transA ? "ᵀ" : ""} x ${showShape(b.shape)}${transB ? "ᵀ" : ""}`,
        );
      return { shape: [...batch, m, n], dtype: a.dtype };
    },
    // Batched products use Transpose nodes, which onnxruntime folds into its fused matrix product.
    onnx: (emit, from, { inputs, attributes: { transA, transB } }) => {
      const rank = inputs[0].shape.length;
      const compute = ([a, b]: readonly string[]) =>
        rank === 2 && (transA || transB)
          ? emit.node("Gemm", [a, b], { transA: { int: +transA }, transB: { int: +transB } })
          : emit.node("MatMul", [transA ? transposed(emit, a, rank) : a, transB ? transposed(emit, b, rank) : b]);
      // The gradient of a weight sums over all rows of a batch, too many for a sum in float16.
      return rank === 2 && transA ? compute(from) : inPrecision(emit, from, compute);
    },
    gradient: ({ inputs: [a, b], attributes: { transA, transB } }, dy) => [
      transA ? matmul(b, dy, { transA: transB, transB: true }) : matmul(dy, b, { transB: !transB }),
      transB ? matmul(dy, a, { transA: true, transB: transA }) : matmul(a, dy, { transA: !transA }),
    ],
  } satisfies Row<"matmul">,

  linear: {
    shape: ([x, weight, bias]) => {
      if (weight.shape.length !== 2 || x.shape.at(-1) !== weight.shape[1])
        throw new Error(`linear: inner sizes differ: ${showShape(x.shape)} x ${showShape(weight.shape)}ᵀ`);
      if (bias && (bias.shape.length !== 1 || bias.shape[0] !== weight.shape[0]))
        throw new Error(`linear: the bias is ${showShape(bias.shape)}, expected [${weight.shape[0]}]`);
      return { shape: [...x.shape.slice(0, -1), weight.shape[0]], dtype: x.dtype };
    },
    onnx: (emit, [x, weight, bias], node) => {
      const stored = emit.quantized(node.inputs[1]);
      if (stored) {
        const product = inFewBits(emit, x, { ...stored, node });
        return bias ? emit.node("Add", [product, bias]) : product;
      }
      if (node.shape.length === 2)
        return inPrecision(emit, bias ? [x, weight, bias] : [x, weight], (from) =>
          emit.node("Gemm", from, { transB: { int: 1 } }),
        );
      const product = inPrecision(emit, [x, weight], ([a, b]) => emit.node("MatMul", [a, transposed(emit, b, 2)]));
      return bias ? emit.node("Add", [product, bias]) : product;
    },
    gradient: ({ inputs: [x, weight, bias] }, dy) => {
      const flat: Tensor = flatten(dy);
      const dx = reshape(matmul(flat, weight), x.shape);
      const wide = flatten(x);
      // A product with a transposed first factor is faster if its result has more rows.
      const dWeight =
        (weight.shape[0] as number) < (weight.shape[1] as number)
          ? transpose(matmul(wide, flat, { transA: true }), [1, 0])
          : matmul(flat, wide, { transA: true });
      return bias ? [dx, dWeight, sum(flat, [0])] : [dx, dWeight];
    },
  } satisfies Row<"linear">,
};
