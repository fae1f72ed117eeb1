/**
 * Elementwise operations with broadcasting. The gradient walk sums gradients back to the shape of a broadcast input.
 */

import { add, cast, div, erf, exp, mul, neg, sub, where } from "../build.ts";
import { broadcast, type Shape } from "../shape.ts";
import type { OpName, Tensor } from "../tensor.ts";
import { onnxType, plain, type Row } from "./row.ts";

const same = ([x]: readonly Tensor[]) => ({ shape: x.shape, dtype: x.dtype });

const pair = (what: string) => (inputs: readonly Tensor[]) => {
  const [a, b] = inputs;
  if (a.dtype !== b.dtype) throw new Error(`${what}: types differ: ${a.dtype} and ${b.dtype}`);
  return { shape: broadcast(a.shape, b.shape, what), dtype: a.dtype };
};

function unary<K extends OpName>(type: string, gradient: Row<K>["gradient"]): Row<K> {
  return { shape: same, onnx: plain(type), gradient };
}

function binary<K extends OpName>(type: string, gradient: Row<K>["gradient"]): Row<K> {
  return { shape: pair(type.toLowerCase()), onnx: plain(type), gradient };
}

export const elementwise = {
  add: binary("Add", (_, dy) => [dy, dy]),
  sub: binary("Sub", (_, dy) => [dy, neg(dy)]),
  mul: binary("Mul", ({ inputs: [a, b] }, dy) => [mul(dy, b), mul(dy, a)]),
  div: binary("Div", (y, dy) => {
    const [, b] = y.inputs;
    const da = div(dy, b);
    return [da, neg(mul(da, y))];
  }),
  maximum: binary("Max", "unwritten"),
  less: {
    shape: (inputs) => ({ shape: pair("less")(inputs).shape, dtype: "bool" }),
    onnx: plain("Less"),
    gradient: "zero",
  } satisfies Row<"less">,

  neg: unary("Neg", (_, dy) => [neg(dy)]),
  exp: unary("Exp", (y, dy) => [mul(dy, y)]),
  log: unary("Log", ({ inputs: [x] }, dy) => [div(dy, x)]),
  sqrt: unary("Sqrt", (y, dy) => [div(mul(dy, 0.5), y)]),
  // erf'(x) = 2 / sqrt(pi) exp(-x^2)
  erf: unary("Erf", ({ inputs: [x] }, dy) => [mul(dy, exp(sub(Math.log(2 / Math.sqrt(Math.PI)), mul(x, x))))]),
  sigmoid: unary("Sigmoid", (y, dy) => [mul(dy, mul(y, sub(1, y)))]),
  // gelu'(x) = P(x) + x p(x), where P and p are the distribution function and density of the standard normal
  gelu: unary("Gelu", ({ inputs: [x] }, dy) => {
    const distribution = add(mul(erf(mul(x, Math.SQRT1_2)), 0.5), 0.5);
    const weighted = mul(mul(x, 1 / Math.sqrt(2 * Math.PI)), exp(mul(mul(x, x), -0.5)));
    return [mul(dy, add(distribution, weighted))];
  }),
  round: {
    shape: same,
    onnx: (emit, [x]) => {
      if (!emit.webgpu) return emit.node("Round", [x]);
      // y = floor(x + 1/2), less one if that rounded a half up to an odd number
      const scalar = (value: number) => emit.scalar(value, "float32");
      const y = emit.node("Floor", [emit.node("Add", [x, scalar(0.5)])]);
      const even = emit.node("Mul", [emit.node("Floor", [emit.node("Mul", [y, scalar(0.5)])]), scalar(2)]);
      const half = emit.node("Equal", [emit.node("Sub", [y, x]), scalar(0.5)]);
      const wrong = emit.node("Mul", [
        emit.node("Cast", [half], { to: { int: onnxType.float32 } }),
        emit.node("Sub", [y, even]),
      ]);
      return emit.node("Sub", [y, wrong]);
    },
    gradient: "zero",
  } satisfies Row<"round">,
  clip: {
    shape: same,
    onnx: (emit, [x], { attributes: { low, high }, dtype }) =>
      emit.node("Clip", [x, emit.scalar(low, dtype), emit.scalar(high, dtype)]),
    gradient: "unwritten",
  } satisfies Row<"clip">,
  // Reuses the name of the input, so that no node is written.
  stopGradient: { shape: same, onnx: (_, [x]) => x, gradient: "zero" } satisfies Row<"stopGradient">,
  cast: {
    shape: ([x], { to }) => ({ shape: x.shape, dtype: to }),
    onnx: (emit, [x], { attributes: { to } }) => emit.node("Cast", [x], { to: { int: onnxType[to] } }),
    gradient: ({ inputs: [x], attributes: { to } }, dy) =>
      to.startsWith("float") && x.dtype.startsWith("float") ? [cast(dy, x.dtype)] : ["zero"],
  } satisfies Row<"cast">,
  where: {
    shape: ([condition, a, b]) => {
      if (condition.dtype !== "bool") throw new Error(`where: the condition is ${condition.dtype}, expected bool`);
      const value: Shape = pair("where")([a, b]).shape;
      return { shape: broadcast(condition.shape, value, "where"), dtype: a.dtype };
    },
    onnx: plain("Where"),
    gradient: ({ inputs: [condition] }, dy) => ["zero", where(condition, dy, 0), where(condition, 0, dy)],
  } satisfies Row<"where">,
  dropoutMask: {
    shape: ([like, ...scalars]) => {
      for (const { dtype, shape } of scalars)
        if (dtype !== "int32" || shape.length !== 0)
          throw new Error(`dropout: the seed is ${dtype} of ${shape.length} dimensions, expected an int32 scalar`);
      return { shape: like.shape, dtype: "float32" };
    },
    // murmur3's finaliser over the element's position, keyed by the seed and the salt. Products are int32 and wrap;
    // shifts need uint32, so the value goes back and forth. WebGPU's provider has no operators on bits, so there the masks
    // are others: from the mixing step of RC6, the permutation x (2 x + 1), whose halves are then exchanged by products.
    onnx: (emit, [like, seed, start], { attributes: { keep, salt } }) => {
      const int = (value: number) => emit.scalar(value | 0, "int32");
      const unsigned = (x: string) => emit.node("Cast", [x], { to: { int: onnxType.uint32 } });
      const signed = (x: string) => emit.node("Cast", [x], { to: { int: onnxType.int32 } });
      const mix = (x: string, shift: number) => {
        const u = unsigned(x);
        const shifted = emit.node("BitShift", [u, emit.scalar(shift, "uint32")], { direction: { string: "RIGHT" } });
        return signed(emit.node("BitwiseXor", [u, shifted]));
      };
      const count = emit.node("Cast", [emit.node("Size", [like])], { to: { int: onnxType.int32 } });
      const local = emit.node("Range", [int(0), count, int(1)]);
      const positions = start ? emit.node("Add", [local, start]) : local;
      const key = emit.node("Add", [emit.node("Mul", [seed, int(0x9e3779b1)]), int(Math.imul(salt + 1, 0x85ebca77))]);
      const keyed = emit.node("Add", [emit.node("Mul", [positions, int(0x27d4eb2f)]), key]);
      const squared = (x: string) => emit.node("Mul", [x, emit.node("Add", [emit.node("Add", [x, x]), int(1)])]);
      const turned = (x: string) =>
        emit.node("Add", [emit.node("Mul", [x, int(2 ** 16)]), emit.node("Div", [x, int(2 ** 16)])]);
      const arithmetic = () => squared(turned(squared(turned(squared(turned(squared(keyed)))))));
      function bitwise(): string {
        let hash = mix(keyed, 16);
        hash = mix(emit.node("Mul", [hash, int(0x85ebca6b)]), 13);
        return mix(emit.node("Mul", [hash, int(0xc2b2ae35)]), 16);
      }
      // 24 bits, from 0 or, on WebGPU, around 0.
      const high = emit.webgpu
        ? emit.node("Div", [arithmetic(), int(2 ** 8)])
        : emit.node("BitShift", [unsigned(bitwise()), emit.scalar(8, "uint32")], { direction: { string: "RIGHT" } });
      const uniform = emit.node("Cast", [high], { to: { int: onnxType.float32 } });
      const most = (emit.webgpu ? keep - 0.5 : keep) * 2 ** 24;
      const kept = emit.node("Less", [uniform, emit.scalar(most, "float32")]);
      const flat = emit.node("Mul", [
        emit.node("Cast", [kept], { to: { int: onnxType.float32 } }),
        emit.scalar(1 / keep, "float32"),
      ]);
      return emit.node("Reshape", [flat, emit.node("Shape", [like])]);
    },
    gradient: "zero",
  } satisfies Row<"dropoutMask">,
};
