/** Operations that move values without changing them. */

import { int32 } from "../../core/arrays.ts";
import { pad, reshape, slice, transpose } from "../build.ts";
import { broadcast, plus, type Shape, showShape, times } from "../shape.ts";
import { plain, type Row } from "./row.ts";

export const layout = {
  transpose: {
    shape: ([x], { perm }) => ({ shape: perm.map((axis) => x.shape[axis]), dtype: x.dtype }),
    onnx: (emit, [x], { attributes: { perm } }) => emit.node("Transpose", [x], { perm: { ints: perm } }),
    gradient: ({ attributes: { perm } }, dy) => [
      transpose(
        dy,
        perm.map((_, axis) => perm.indexOf(axis)),
      ),
    ],
  } satisfies Row<"transpose">,

  reshape: {
    shape: ([x], { shape }) => {
      if (times(...x.shape) !== times(...shape))
        throw new Error(`reshape: ${showShape(x.shape)} does not fill ${showShape(shape)}`);
      return { shape, dtype: x.dtype };
    },
    onnx: (emit, [x], { inputs, attributes: { shape } }) =>
      emit.node("Reshape", [x, emit.ints(reshapeCode(inputs[0].shape, shape))]),
    gradient: ({ inputs: [x] }, dy) => [reshape(dy, x.shape)],
  } satisfies Row<"reshape">,

  concat: {
    shape: (inputs, { axis }) => {
      const [first] = inputs;
      for (const { shape } of inputs)
        if (shape.length !== first.shape.length || shape.some((d, i) => i !== axis && d !== first.shape[i]))
          throw new Error(
            `concat: shapes differ outside axis ${axis}: ${inputs.map((x) => showShape(x.shape)).join(" ")}`,
          );
      const shape = [...first.shape];
      shape[axis] = inputs.map((x) => x.shape[axis]).reduce(plus);
      return { shape, dtype: first.dtype };
    },
    onnx: (emit, inputs, { attributes: { axis } }) => emit.node("Concat", inputs, { axis: { int: axis } }),
    gradient: ({ inputs, attributes: { axis } }, dy) => {
      let start = 0;
      return inputs.map((x) => {
        const length = x.shape[axis];
        if (typeof length !== "number") throw new Error(`concat: no gradient along the symbolic size ${length}`);
        const part = slice(dy, axis, start, start + length);
        start += length;
        return part;
      });
    },
  } satisfies Row<"concat">,

  slice: {
    shape: ([x], { axis, start, end }) => {
      const length = x.shape[axis];
      if (typeof length !== "number" || start < 0 || end > length || start >= end)
        throw new Error(`slice: ${start} to ${end} is not within axis ${axis} of ${showShape(x.shape)}`);
      return { shape: x.shape.map((d, i) => (i === axis ? end - start : d)), dtype: x.dtype };
    },
    onnx: (emit, [x], { dtype, attributes: { axis, start, end } }) => {
      if (emit.webgpu && dtype === "int32") {
        const places = int32(
          Int32Array.from({ length: end - start }, (_, i) => start + i),
          [end - start],
        );
        return emit.node("Gather", [x, emit.constant(places)], { axis: { int: axis } });
      }
      return emit.node("Slice", [x, emit.ints([start]), emit.ints([end]), emit.ints([axis])]);
    },
    gradient: ({ inputs: [x], attributes: { axis, start, end } }, dy) => [
      pad(dy, axis, start, (x.shape[axis] as number) - end),
    ],
  } satisfies Row<"slice">,

  pad: {
    shape: ([x], { axis, before, after }) => ({
      shape: x.shape.map((d, i) => (i === axis ? plus(d, before + after) : d)),
      dtype: x.dtype,
    }),
    onnx: (emit, [x], { inputs, attributes: { axis, before, after } }) => {
      const amounts = inputs[0].shape.flatMap((_, i) => (i === axis ? [before] : [0]));
      const afters = inputs[0].shape.flatMap((_, i) => (i === axis ? [after] : [0]));
      return emit.node("Pad", [x, emit.ints([...amounts, ...afters])]);
    },
    gradient: ({ inputs: [x], attributes: { axis, before } }, dy) => [
      slice(dy, axis, before, before + (x.shape[axis] as number)),
    ],
  } satisfies Row<"pad">,

  pickAt: {
    shape: ([x]) => ({ shape: x.shape.slice(1), dtype: x.dtype }),
    onnx: plain("Gather"),
    gradient: "unwritten",
  } satisfies Row<"pickAt">,

  rowsBetween: {
    shape: ([x], { rows }) => ({ shape: [rows, ...x.shape.slice(1)], dtype: x.dtype }),
    onnx: (emit, [x, bounds, index]) => {
      const next = emit.node("Add", [index, emit.scalar(1, "int64")]);
      const at = (i: string) => emit.node("Unsqueeze", [emit.node("Gather", [bounds, i]), emit.ints([0])]);
      return emit.node("Slice", [x, at(index), at(next), emit.ints([0])]);
    },
    gradient: "unwritten",
  } satisfies Row<"rowsBetween">,

  expandLike: {
    shape: ([x, like]) => ({ shape: broadcast(x.shape, like.shape, "expandLike"), dtype: x.dtype }),
    onnx: (emit, [x, like]) => emit.node("Expand", [x, emit.node("Shape", [like])]),
    gradient: (_, dy) => [dy, "zero"],
  } satisfies Row<"expandLike">,
};

/** Sizes in the form of ONNX's Reshape: 0 keeps the size at the same axis, and -1 (at most once) is inferred. */
function reshapeCode(from: Shape, to: Shape): number[] {
  const symbolic = to.filter((d) => typeof d === "string").length;
  let inferred = 0;
  return to.map((d, i) => {
    if (typeof d === "number") return d;
    if (symbolic > 1 && d === from[i]) return 0;
    if (inferred++ > 0) throw new Error(`reshape: ${showShape(from)} to ${showShape(to)} leaves two sizes open`);
    return -1;
  });
}
