/** Operations that look up rows by index. */

import { flatten, gatherRows, matmul, neg, oneHot, reshape, rotary, sum } from "../build.ts";
import { float32, int32 } from "../../core/arrays.ts";
import { sameShape, showShape, times } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { onnxType, type Row } from "./row.ts";

const whole = (index: Tensor, what: string): void => {
  if (index.dtype !== "int32" && index.dtype !== "int64")
    throw new Error(`${what}: the index is ${index.dtype}, expected int32 or int64`);
};

export const lookup = {
  embedding: {
    shape: ([table, index]) => {
      whole(index, "embedding");
      return { shape: [...index.shape, table.shape[1]], dtype: table.dtype };
    },
    onnx: (emit, inputs) => emit.node("Gather", inputs),
    // Computed as a product, which sums in a fixed order, so the result is bit-identical every time.
    gradient: ({ inputs: [table, index] }, dy) => {
      const chosen = oneHot(reshape(index, [times(...index.shape)]), table.shape[0] as number);
      return [matmul(chosen, flatten(dy), { transA: true }), "zero"];
    },
  } satisfies Row<"embedding">,

  gatherRows: {
    shape: ([x, index]) => {
      whole(index, "gatherRows");
      if (x.shape.length !== 2) throw new Error(`gatherRows: rows are ${showShape(x.shape)}, expected two dimensions`);
      return { shape: [...index.shape, x.shape[1]], dtype: x.dtype };
    },
    onnx: (emit, [x, index], { shape }) => {
      const width = shape.at(-1) as number;
      const zeros = emit.constant(float32(new Float32Array(width), [1, width]));
      return emit.node("Gather", [emit.node("Concat", [x, zeros], { axis: { int: 0 } }), index]);
    },
    // Gathers instead of scattering: row n of x was copied to the results inverse[n, :].
    gradient: ({ inputs: [x, , inverse] }, dy) => {
      if (!inverse) throw new Error("gatherRows: no gradient without the inverse index");
      const fans = gatherRows(flatten(dy), inverse);
      return [inverse.shape[1] === 1 ? reshape(fans, x.shape) : sum(fans, [1]), "zero", "zero"];
    },
  } satisfies Row<"gatherRows">,

  gatherTokens: {
    shape: ([x, index]) => {
      whole(index, "gatherTokens");
      if (x.shape.length !== 3 || index.shape.length !== 2 || x.shape[0] !== index.shape[0])
        throw new Error(`gatherTokens: tokens ${showShape(x.shape)} and index ${showShape(index.shape)} do not fit`);
      return { shape: [...index.shape, x.shape[2]], dtype: x.dtype };
    },
    onnx: (emit, [x, index]) => {
      // The cast comes last: WebGPU has no Unsqueeze for int64 and would copy the index back to the CPU in the middle
      // of a step.
      const column = emit.node("Unsqueeze", [index, emit.ints([2])]);
      const wide = emit.node("Cast", [column], { to: { int: onnxType.int64 } });
      return emit.node("GatherND", [x, wide], { batch_dims: { int: 1 } });
    },
    gradient: "unwritten",
  } satisfies Row<"gatherTokens">,

  rotary: {
    shape: ([x, cos, sin, positions]) => {
      const half = (x.shape.at(-1) as number) / 2;
      for (const { shape } of [cos, sin])
        if (shape.length !== 2 || shape[1] !== half)
          throw new Error(`rotary: a table is ${showShape(shape)}, expected [positions, ${half}]`);
      if (x.shape.length < 2 || positions.dtype !== "int64" || !sameShape(positions.shape, [1, x.shape.at(-2)!]))
        throw new Error(
          `rotary: positions are ${positions.dtype} ${showShape(positions.shape)}, x is ${showShape(x.shape)}`,
        );
      return { shape: x.shape, dtype: x.dtype };
    },
    // Treats all rows and heads as heads of a single row, because their positions are the same.
    onnx: (emit, [x, cos, sin, positions], { shape }) => {
      const flat = emit.node("Reshape", [x, emit.ints([1, -1, shape.at(-2) as number, shape.at(-1) as number])]);
      const turned = emit.node("RotaryEmbedding", [flat, cos, sin, positions], { interleaved: { int: 1 } });
      return emit.node("Reshape", [turned, emit.node("Shape", [x])]);
    },
    gradient: ({ inputs: [, cos, sin, positions] }, dy) => [
      rotary(dy, { cos, sin: neg(sin), positions }),
      "zero",
      "zero",
      "zero",
    ],
  } satisfies Row<"rotary">,

  oneHot: {
    shape: ([index], { depth }) => {
      whole(index, "oneHot");
      return { shape: [...index.shape, depth], dtype: "float32" };
    },
    onnx: (emit, [index], { attributes: { depth }, inputs: [{ dtype, shape }] }) => {
      if (emit.webgpu && dtype === "int32") {
        const all = emit.constant(
          int32(
            Int32Array.from({ length: depth }, (_, i) => i),
            [depth],
          ),
        );
        const same = emit.node("Equal", [emit.node("Unsqueeze", [index, emit.ints([shape.length])]), all]);
        return emit.node("Cast", [same], { to: { int: onnxType.float32 } });
      }
      const wide = emit.node("Cast", [index], { to: { int: onnxType.int64 } });
      return emit.node("OneHot", [wide, emit.scalar(depth, "int64"), emit.constant(float32([0, 1], [2]))]);
    },
    gradient: "zero",
  } satisfies Row<"oneHot">,
};
