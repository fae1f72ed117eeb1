/**
 * The entry `fractalgen/graph`: typed tensors, gradients and an ONNX writer, with arrays, seeded random draws and
 * AdamW. It knows nothing of images or models, runs in any environment, and leaves running graphs to an engine.
 *
 * @module fractalgen/graph
 */

export { type AdamWOptions, adamw, clipScale, globalNorm, type Moments } from "../core/adamw.ts";
export {
  bytesPerElement,
  type DType,
  float32,
  type HostTensor,
  int32,
  product,
  type TypedArray,
  uint8,
} from "../core/arrays.ts";
export { bits, derive, type Key, normal, permutation, seedKey, uniform } from "../core/random.ts";
export * from "./build.ts";
export { boundSizes, floatingPointOperations, leastBytes, peakBytes, type Sizes, sizeOf } from "./cost.ts";
export { gradients } from "./gradient.ts";
export type { Form, Precision } from "./form.ts";
export { type ExternalData, type HalfType, type OnnxModel, type WeightData, writeOnnx } from "./onnx.ts";
export { broadcast, type Dim, over, plus, sameShape, type Shape, showShape, times } from "./shape.ts";
export {
  type Attributes,
  dim,
  is,
  type LoopResult,
  type OpName,
  type Pair,
  type Tensor,
  topological,
  type Window,
} from "./tensor.ts";
export * from "./tree.ts";
