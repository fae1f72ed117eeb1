/**
 * The entry `fractalgen/browser`: an engine on onnxruntime-web, and functions to fetch a model, sample and edit in a page. It needs
 * no Node module, no sharp and no onnxruntime-node. Use it in a worker, because `run` blocks the thread that calls it.
 * Types of tensors and graphs are exported by `fractalgen/graph`.
 *
 * @module fractalgen/browser
 */

export { allClasses, type ClassNames, labelsInTurn, parseClasses } from "./config/classes.ts";
export { type ModelConfig, parseModelConfig } from "./config/model.ts";
export type { SamplingFlags, SamplingSettings, Schedule } from "./config/sampling.ts";
export { UserError } from "./core/errors.ts";
export type { DeviceTensor, Value } from "./core/arrays.ts";
export type { Engine, KeptRun, Provider, Session, SessionOptions } from "./engine/engine.ts";
export type { Precision } from "./graph/form.ts";
export { webEngine, type WebEngineOptions, type WebProvider } from "./engine/web.ts";
export { externalModel, type ExternalModel } from "./files/external.ts";
export { fetchConfig, type FetchedModel, fetchModel } from "./files/fetched-model.ts";
export type { SafetensorsFile, TensorEntry } from "./files/safetensors-header.ts";
export type { Draws, Squares } from "./sample/draws.ts";
export { drawnMask, edit, type EditOptions } from "./sample/edit.ts";
export type { Known } from "./sample/known.ts";
export * from "./sample/masks.ts";
export {
  createSampler,
  type Frame,
  type SampledModel,
  type SampleOptions,
  type Sampler,
  type WatchedPixels,
} from "./sample/sampler.ts";
