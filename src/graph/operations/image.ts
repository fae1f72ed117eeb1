/**
 * Operations on images [B, C, H, W]: convolution, pooling, resizing. Except for the input of resizing, sides are known
 * numbers.
 */

import { convolution, less, make, slice, sum, transpose, where } from "../build.ts";
import { showShape } from "../shape.ts";
import type { Pair, Tensor, Window } from "../tensor.ts";
import type { NodeAttribute, Row } from "./row.ts";

/** The number of window positions along height and width. */
function placed(what: string, x: Tensor, { size, strides, padding }: Window): number[] {
  const sides = x.shape.slice(2).map((side, i) => {
    if (typeof side !== "number") throw new Error(`${what}: sides of ${showShape(x.shape)} are not known`);
    return Math.floor((side + 2 * padding[i] - size[i]) / strides[i]) + 1;
  });
  if (x.shape.length !== 4 || sides.some((side) => side < 1))
    throw new Error(`${what}: a window of ${size.join(" x ")} does not fit into ${showShape(x.shape)}`);
  return sides;
}

const sidesOf = ({ shape }: Tensor): Pair => [shape[2] as number, shape[3] as number];

const windowAttributes = ({ size, strides, padding }: Window): Record<string, NodeAttribute> => ({
  kernel_shape: { ints: size },
  strides: { ints: strides },
  pads: { ints: [...padding, ...padding] },
});

const pooled =
  (what: string) =>
  ([x]: readonly Tensor[], window: Window) => {
    const { size, padding } = window;
    // A window that covers only padding would have no values.
    if (padding.some((pad, i) => pad >= size[i]))
      throw new Error(`${what}: padding of ${padding.join(" x ")} is as large as the window, ${size.join(" x ")}`);
    return { shape: [...x.shape.slice(0, 2), ...placed(what, x, window)], dtype: x.dtype };
  };

export const image = {
  convolution: {
    shape: ([x, weight, bias], { strides, padding, dilations }) => {
      if (x.shape.length !== 4 || weight.shape.length !== 4 || x.shape[1] !== weight.shape[1])
        throw new Error(`convolution: channels differ: ${showShape(x.shape)} and weight ${showShape(weight.shape)}`);
      if (bias && (bias.shape.length !== 1 || bias.shape[0] !== weight.shape[0]))
        throw new Error(`convolution: the bias is ${showShape(bias.shape)}, expected [${weight.shape[0]}]`);
      const reach = sidesOf(weight).map((side, i) => (side - 1) * dilations[i] + 1) as [number, number];
      const sides = placed("convolution", x, { size: reach, strides, padding });
      return { shape: [x.shape[0], weight.shape[0], ...sides], dtype: x.dtype };
    },
    onnx: (emit, inputs, { inputs: [, weight], attributes }) =>
      emit.node("Conv", inputs, {
        ...windowAttributes({ size: sidesOf(weight), ...attributes }),
        dilations: { ints: attributes.dilations },
      }),
    // The gradient of the weight is also a convolution: of x by dy, over rows instead of channels, with strides and
    // dilations swapped.
    gradient: ({ inputs: [x, weight, bias], attributes: { strides, padding, dilations } }, dy) => {
      const dx = make("convolutionBack", [dy, weight], { strides, padding, dilations, sides: sidesOf(x) });
      const across = [1, 0, 2, 3];
      const placing = { strides: dilations, dilations: strides, padding };
      let dWeight = convolution(transpose(x, across), transpose(dy, across), placing); // [C, D, h or more, w or more]
      sidesOf(weight).forEach((side, i) => (dWeight = slice(dWeight, 2 + i, 0, side)));
      dWeight = transpose(dWeight, across);
      return bias ? [dx, dWeight, sum(dy, [0, 2, 3])] : [dx, dWeight];
    },
  } satisfies Row<"convolution">,

  convolutionBack: {
    shape: ([dy, weight], { sides }) => ({ shape: [dy.shape[0], weight.shape[1], ...sides], dtype: dy.dtype }),
    onnx: (emit, inputs, { inputs: [dy, weight], attributes }) => {
      const { strides, padding, dilations, sides } = attributes;
      const [from, size] = [sidesOf(dy), sidesOf(weight)];
      // Rows and columns at the end that no window reached, fewer than a stride.
      const left = sides.map(
        (side, i) => side + 2 * padding[i] - (from[i] - 1) * strides[i] - (size[i] - 1) * dilations[i] - 1,
      );
      return emit.node("ConvTranspose", inputs, {
        ...windowAttributes({ size, strides, padding }),
        dilations: { ints: dilations },
        output_padding: { ints: left },
      });
    },
    gradient: "unwritten",
  } satisfies Row<"convolutionBack">,

  maxPool: {
    shape: pooled("maxPool"),
    onnx: (emit, [x], { attributes }) => emit.node("MaxPool", [x], windowAttributes(attributes)),
    gradient: "unwritten",
  } satisfies Row<"maxPool">,

  averagePool: {
    shape: pooled("averagePool"),
    onnx: (emit, [x], { attributes }) =>
      emit.node("AveragePool", [x], {
        ...windowAttributes(attributes),
        count_include_pad: { int: +attributes.countPadding },
      }),
    gradient: "unwritten",
  } satisfies Row<"averagePool">,

  resize: {
    shape: ([x], { height, width }) => {
      if (x.shape.length !== 4) throw new Error(`resize: input is ${showShape(x.shape)}, expected images [B, C, H, W]`);
      return { shape: [x.shape[0], x.shape[1], height, width], dtype: x.dtype };
    },
    onnx: (emit, [x], { attributes: { height, width } }) =>
      emit.node("Resize", [x, "", "", emit.ints([height, width])], {
        axes: { ints: [2, 3] },
        mode: { string: "linear" },
        coordinate_transformation_mode: { string: "asymmetric" },
      }),
    gradient: "unwritten",
  } satisfies Row<"resize">,

  relu: {
    shape: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
    onnx: (emit, [x]) => emit.node("Relu", [x]),
    gradient: ({ inputs: [x] }, dy) => [where(less(0, x), dy, 0)],
  } satisfies Row<"relu">,
};
