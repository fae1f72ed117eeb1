/** The definition of an operation: a row of the operation table. */

import type { DType, HostTensor } from "../../core/arrays.ts";
import type { Shape } from "../shape.ts";
import type { Attributes, OpName, Tensor } from "../tensor.ts";

export interface Row<K extends OpName> {
  /** Checks the inputs and returns the shape and type of the result. */
  shape(inputs: readonly Tensor[], attributes: Attributes[K]): { shape: Shape; dtype: DType };
  /** Writes the ONNX nodes, given the names of its inputs; returns the name of the result. */
  onnx(emit: Emitter, inputs: string[], node: Tensor<K>): string;
  /** The gradient of the loss for each input, given its gradient for the result. */
  gradient: ((node: Tensor<K>, dy: Tensor) => (Tensor | Zero)[]) | Zero | "unwritten" | "leaf";
}

/**
 * A gradient that is zero: that of an index, or of a result that is constant almost everywhere. A row without a formula
 * has one of two other words: differentiating an "unwritten" operation throws, and a "leaf" has no inputs to
 * differentiate with respect to.
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
  float16: 10,
  float64: 11,
  uint32: 12,
};

/** The domain of onnxruntime's own operators. */
export const contributed = "com.microsoft";

/** Appends nodes to the ONNX graph that is being written. */
export interface Emitter {
  /**
   * Appends a node and returns the name of its first output; `outputs` names further ones, and `unused` counts those
   * never read.
   */
  node(
    type: string,
    inputs: readonly string[],
    attributes?: Record<string, NodeAttribute>,
    options?: { outputs?: string[]; unused?: number; domain?: string },
  ): string;
  /** Calls `make` once per key and reuses its value; for values that depend only on sizes. */
  once(key: string, make: () => string): string;
  /** Whether products are computed in float16. */
  readonly half: boolean;
  /** Whether to avoid operators that onnxruntime's WebGPU provider leaves to the CPU. */
  readonly webgpu: boolean;
  /** A constant vector of int64. */
  ints(values: readonly number[]): string;
  constant(value: HostTensor): string;
  /** A constant scalar. */
  scalar(value: number, dtype: DType): string;
  /** Names for the statistics of a layerNorm, if any node uses them. */
  statistics(node: Tensor): { mean: string; inverse: string } | null;
  /**
   * A quantized weight, or rows of one, and its scales: [E, D] int8 for q8, blocks for q4. Null if it is not quantized.
   */
  quantized(weight: Tensor): { dtype: "q8" | "q4"; data: string; scale: string } | null;
}

/** A row of a plain ONNX operator without attributes. */
export const plain =
  (type: string) =>
  (emit: Emitter, inputs: string[]): string =>
    emit.node(type, inputs);
