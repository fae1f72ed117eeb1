/** What a row of the operation table says of an operation. */

import type { DType, HostTensor } from "../../core/arrays.ts";
import type { Shape } from "../shape.ts";
import type { Attributes, OpName, Tensor } from "../tensor.ts";

export interface Row<K extends OpName> {
  /** Checks the inputs and gives the result's shape and type. */
  shape(inputs: readonly Tensor[], attributes: Attributes[K]): { shape: Shape; dtype: DType };
  /** Writes the ONNX nodes; takes and gives names of values. */
  onnx(emit: Emitter, inputs: string[], node: Tensor<K>): string;
  /** The loss's gradient for each input, from its gradient for the result. */
  gradient: ((node: Tensor<K>, dy: Tensor) => (Tensor | Zero)[]) | Zero | "unwritten" | "leaf";
}

/**
 * A gradient that is zero: of an index, or of a result that is constant nearly everywhere. Two other words stand in a
 * row without a formula: differentiating an "unwritten" one throws, and a "leaf" has no inputs to differentiate for.
 */
export type Zero = "zero";

export type NodeAttribute = { int: number } | { ints: readonly number[] } | { float: number } | { string: string };

/** Element types as numbered by ONNX (TensorProto.DataType). */
export const onnxType: Record<DType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float64: 11,
  uint32: 12,
};

/** The domain of onnxruntime's own operators. */
export const contributed = "com.microsoft";

/** Appends nodes to the ONNX graph that is being written. */
export interface Emitter {
  /** One node, whose first output's name it returns; `outputs` names further ones, `unused` counts those nobody reads. */
  node(
    type: string,
    inputs: readonly string[],
    attributes?: Record<string, NodeAttribute>,
    options?: { outputs?: string[]; unused?: number; domain?: string },
  ): string;
  /** What `make` writes, once for each key: values that follow from sizes alone. */
  once(key: string, make: () => string): string;
  /** A constant vector of int64. */
  ints(values: readonly number[]): string;
  constant(value: HostTensor): string;
  /** A constant scalar. */
  scalar(value: number, dtype: DType): string;
  /** Names for the statistics of a layerNorm, if anything asks for them. */
  statistics(node: Tensor): { mean: string; inverse: string } | null;
  /** A weight, or rows of one, that is stored in few bits: [E, D] int8 for q8, blocks for q4, and their scales. */
  quantized(weight: Tensor): { dtype: "q8" | "q4"; data: string; scale: string } | null;
}

/** A row of a plain ONNX operator without attributes. */
export const plain =
  (type: string) =>
  (emit: Emitter, inputs: string[]): string =>
    emit.node(type, inputs);
