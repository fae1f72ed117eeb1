/**
 * The entry `fractalgen/levels`: what a program needs to write a level kind of its own. It has the interface of a kind, and the
 * layers, tokens, orders and settings that the built-in kinds are made of, and runs in any environment. Tensors and their
 * operations are exported by `fractalgen/graph`.
 *
 * @module fractalgen/levels
 */

export { dense, type Dropout, norm, type Training as TeacherForcedTraining } from "../layers/layers.ts";
export {
  blocks,
  type Declare,
  declareDense,
  declareNorm,
  type Dense,
  type DenseOptions,
  type Norm,
  type Parameter,
} from "../layers/parameters.ts";
export * from "./kind.ts";
export * from "./order.ts";
export { decodeInRaster } from "./raster.ts";
export { patchSide, transformer } from "./schema.ts";
export { registerLevelKind } from "./table.ts";
export { declareEmbedding, type Embedding, placed, prefix } from "./tokens.ts";
