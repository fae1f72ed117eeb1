/** The library: what programs import. */

export type { ModelConfig } from "./config/model.ts";
export { parseModelConfig } from "./config/model.ts";
export { presetFor } from "./config/presets.ts";
export { parseTrainingConfig, type TrainingConfig } from "./config/training.ts";
export { UserError } from "./core/errors.ts";
export type { Dataset, Skipped, Split } from "./data/dataset.ts";
export { emojiDataset } from "./data/emoji.ts";
export { type DataOptions, openDataset } from "./data/open.ts";
export { type ReferencePoint, referencePoints } from "./data/references.ts";
export type { Engine, Provider, Session } from "./engine/engine.ts";
export { disableTelemetry, nodeEngine } from "./engine/node.ts";
export { type FeatureNetwork, inceptionNetwork, measure, type MeasuredSet } from "./evaluate/features.ts";
export { type ImageLikelihood, type LikelihoodOptions, likelihoods } from "./evaluate/likelihood.ts";
export { nearest, pixelRows } from "./evaluate/nearest.ts";
export { openOwnFeatures } from "./evaluate/own-features.ts";
export { type FeatureTraining, trainFeatures } from "./evaluate/own-features-training.ts";
export { type Quality, type QualityOptions, qualityOf, type Reference } from "./evaluate/quality.ts";
export { readStatistics, type Statistics, writeStatistics } from "./evaluate/statistics.ts";
export { meanOf, type Scored, summaryOf } from "./evaluate/summary.ts";
export { externalModel } from "./files/external.ts";
export { readModelFolder, writeModelFolder } from "./files/model.ts";
export type { LevelKind, Network, PatchLevel, Placed } from "./levels/kind.ts";
export { anyOrder, type Order, rasterOrder } from "./levels/order.ts";
export { decodeInRaster } from "./levels/raster.ts";
export { registerLevelKind } from "./levels/table.ts";
export { drawnMask, edit, type EditOptions } from "./sample/edit.ts";
export type { Known } from "./sample/known.ts";
export {
  allButMask,
  centre,
  type EditingTask,
  editingTasks,
  grownMask,
  halfMask,
  type Rectangle,
  rectangleMask,
  type Side,
  taskMask,
} from "./sample/masks.ts";
export type { SamplingFlags, SamplingSettings } from "./config/sampling.ts";
export { type SamplingSize, samplingWithin } from "./sample/memory.ts";
export { createSampler, type Frame, type SampleOptions, type Sampler } from "./sample/sampler.ts";
export { dataRecord, fineTunedState, loadCheckpoint, saveCheckpoint, startingState } from "./train/checkpoint.ts";
export { settingsWithin } from "./train/memory.ts";
export type { TrainingStep } from "./train/step.ts";
export { train, type TrainingRecord, type TrainingRun } from "./train/trainer.ts";
export { parallelSampler } from "./workers/sampling.ts";
export { parallelTrainingStep } from "./workers/training.ts";
