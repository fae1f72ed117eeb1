/** The table of all operations. A row without a gradient, shape rule or ONNX form does not compile. */

import type { OpName, Tensor } from "../tensor.ts";
import { elementwise } from "./elementwise.ts";
import { image } from "./image.ts";
import { layout } from "./layout.ts";
import { lookup } from "./lookup.ts";
import { matrix } from "./matrix.ts";
import { reduce } from "./reduce.ts";
import type { Row } from "./row.ts";

const given = (op: string) => (): never => {
  throw new Error(`${op}: handled by the ONNX writer itself`);
};

export const operations: { [K in OpName]: Row<K> } = {
  input: { shape: (_, { shape, dtype }) => ({ shape, dtype }), onnx: given("input"), gradient: "leaf" },
  parameter: { shape: (_, { shape }) => ({ shape, dtype: "float32" }), onnx: given("parameter"), gradient: "leaf" },
  constant: {
    shape: (_, { value }) => ({ shape: value.shape, dtype: value.dtype }),
    onnx: given("constant"),
    gradient: "leaf",
  },
  loopIndex: { shape: () => ({ shape: [], dtype: "int64" }), onnx: given("loopIndex"), gradient: "leaf" },
  loop: { shape: ([count]) => ({ shape: [], dtype: count.dtype }), onnx: given("loop"), gradient: "unwritten" },
  loopResult: {
    shape: ([node], { name }) => {
      const { value, how } = (node as Tensor<"loop">).attributes.results.find((result) => result.name === name)!;
      return { shape: how === "sum" ? value.shape : ["rounds", ...value.shape], dtype: value.dtype };
    },
    onnx: given("loopResult"),
    gradient: "unwritten",
  },
  ...elementwise,
  ...matrix,
  ...layout,
  ...reduce,
  ...lookup,
  ...image,
};
