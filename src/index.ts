/**
 * The entry `fractalgen`: sampling, editing, training, measuring and serving in Node. Types of tensors and graphs are
 * exported by `fractalgen/graph`, the parts of level kinds by `fractalgen/levels`, what runs in a page by `fractalgen/browser`.
 *
 * @module fractalgen
 */

export { allClasses, type ClassNames, labelsInTurn, parseClasses } from "./config/classes.ts";
export { type ModelConfig, modelSchema, parseModelConfig } from "./config/model.ts";
export {
  type Choice,
  type Kind,
  type Preset,
  presetFor,
  type PresetImages,
  type PresetKind,
  presetKinds,
  type Size,
  sizes,
} from "./config/presets.ts";
export {
  type Changes,
  type DrawForm,
  type DrawName,
  type SamplingFlags,
  type SamplingName,
  type SamplingSettings,
  samplingSettings,
  type SamplingTable,
  type Schedule,
  type SettingsThat,
} from "./config/sampling.ts";
export type {
  Bounds,
  KindName,
  SettingKind,
  SettingKinds,
  SettingValue,
  Spread as SpreadSetting,
} from "./config/setting.ts";
export {
  type DefaultedTraining,
  parseTrainingConfig,
  type TrainingConfig,
  type TrainingName,
  trainingSettings,
  type TrainingTable,
} from "./config/training.ts";
export { type Hint, type Mistake, type SettingName, UserError, type Wording } from "./core/errors.ts";
export type { DataReport, Dataset, Skipped, Split } from "./data/dataset.ts";
export type { LeftOut } from "./data/source.ts";
export { emojiDataset, type EmojiOptions } from "./data/emoji.ts";
export { type ContentOptions, type DataOptions, openDataset } from "./data/open.ts";
export { type ReferenceOptions, type ReferencePoint, referencePoints } from "./data/references.ts";
export type { DeviceTensor, Value } from "./core/arrays.ts";
export type { Engine, KeptRun, Provider, Session, SessionOptions } from "./engine/engine.ts";
export type { Precision } from "./graph/form.ts";
export { GatedWorker } from "./engine/gate.ts";
export { disableTelemetry, nodeEngine, type NodeEngineOptions } from "./engine/node.ts";
export type { Breakdown } from "./evaluate/breakdown.ts";
export {
  type FeatureNetwork,
  inceptionNetwork,
  measure,
  type MeasuredSet,
  type MeasureOptions,
} from "./evaluate/features.ts";
export {
  type ImageLikelihood,
  type LikelihoodOptions,
  type LikelihoodOutputs,
  likelihoods,
  type LikelihoodSession,
  type MeasuredModel,
} from "./evaluate/likelihood.ts";
export type { MeanAndSpread } from "./evaluate/metrics.ts";
export type { Features } from "./evaluate/metrics-products.ts";
export { type Closeness, nearest, type Nearest, pixelRows } from "./evaluate/nearest.ts";
export { openOwnFeatures, type OwnFeatures } from "./evaluate/own-features.ts";
export {
  type FeatureRecord,
  type FeatureSummary,
  type FeatureTraining,
  trainFeatures,
} from "./evaluate/own-features-training.ts";
export { type Quality, type QualityOptions, qualityOf, type Reference } from "./evaluate/quality.ts";
export { readStatistics, type Statistics, writeStatistics } from "./evaluate/statistics.ts";
export { type Mean, meanOf, type Scored, type Summary, summaryOf } from "./evaluate/summary.ts";
export type { Owner, Ownership } from "./files/ownership.ts";
export { exportOnnx, type ExportOptions } from "./files/export.ts";
export { externalModel, type ExternalModel } from "./files/external.ts";
export { findModel } from "./files/find-model.ts";
export { type ModelFolder, readModelFolder, writeModelFolder } from "./files/model.ts";
export { type RandomModelOptions, writeRandomModel } from "./files/random-model.ts";
export type { SafetensorsFile, TensorEntry } from "./files/safetensors-header.ts";
export type { Dropout, Training as TeacherForcedTraining } from "./layers/layers.ts";
export type { Declare, Parameter } from "./layers/parameters.ts";
export type {
  Above,
  Between,
  DecodedStep,
  Decoding,
  DrawPatches,
  DrawnPatches,
  LevelKind,
  Network,
  Patches,
  PatchLevel,
  Placed,
  StepOutputs,
  StepSize,
  Taught,
} from "./levels/kind.ts";
export {
  anyOrder,
  type MaskRate,
  type Order,
  rasterOrder,
  type Stuck,
  type OrderView,
  type Viewed,
} from "./levels/order.ts";
export { decodeInRaster } from "./levels/raster.ts";
export { registerLevelKind } from "./levels/table.ts";
export type { Starts } from "./model/parameters.ts";
export type { Batch, Masks, Rows, Share } from "./model/plan.ts";
export { contactSheet } from "./measures/contact-sheet.ts";
export { type DrawnSetOptions, drawnSet, labelsLike } from "./measures/drawn-set.ts";
export {
  editingImages,
  type EditingChoice,
  type EditingMeasure,
  type EditingRow,
  measureEditing,
  type PlannedEdit,
  plannedRows,
} from "./measures/editing.ts";
export {
  type MeasureContext,
  type NetworkChoice,
  type OpenedNetwork,
  openNetwork,
} from "./measures/feature-network.ts";
export { type DatasetPart, datasetParts, type ImageSet, partSet, sampleSet } from "./measures/image-sets.ts";
export { keptFeatures, type KeptFeatures } from "./measures/kept-features.ts";
export { type LikelihoodMeasure, measureLikelihood } from "./measures/likelihood.ts";
export {
  type ClosenessMeasure,
  closenessMeasures,
  type Compared,
  type MeasuredMemorisation,
  measureMemorisation,
  type MemorisationMeasure,
} from "./measures/memorisation.ts";
export {
  type MeasuredQuality,
  measureQuality,
  type QualityMeasure,
  type QualityReference,
} from "./measures/quality.ts";
export { gridPng, type GridOptions, imagePng } from "./pictures/grid.ts";
export { type Beginning, beginning } from "./runs/begin.ts";
export type { LogRecord } from "./runs/log.ts";
export type { RunOptions } from "./runs/options.ts";
export type { Given } from "./runs/preset.ts";
export type { QualityRecord } from "./runs/quality.ts";
export { checkSame, type Prepared, settle } from "./runs/settle.ts";
export { type RunContext, trainRun } from "./runs/train.ts";
export type { Draws, Squares } from "./sample/draws.ts";
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
  sides,
  taskMask,
} from "./sample/masks.ts";
export { type SamplingSize, samplingWithin } from "./sample/memory.ts";
export {
  createSampler,
  type Frame,
  type SampledModel,
  type SampleOptions,
  type Sampler,
  type WatchedPixels,
} from "./sample/sampler.ts";
export { type Elsewhere, fractalServer, type FractalServer, type ServerOptions } from "./server/app.ts";
export { listen, type Listening } from "./server/listen.ts";
export { type ServedModel, servedModels } from "./server/models.ts";
export type { Limits } from "./server/schemas.ts";
export {
  dataRecord,
  type DataRecord,
  loadCheckpoint,
  type Resumed,
  saveCheckpoint,
  type Saved,
} from "./train/checkpoint.ts";
export { type FineTuned, fineTunedState } from "./train/fine-tuning.ts";
export { type Starting, startingState, type TrainingState } from "./train/state.ts";
export { type MemoryOptions, settingsWithin } from "./train/memory.ts";
export type { StepOptions, StepResult, TrainingStep } from "./train/step.ts";
export { type RoundRecord, train, type TrainingRecord, type TrainingRun } from "./train/trainer.ts";
export { openSampler, type SamplerOptions } from "./workers/sampler.ts";
export { parallelSampler } from "./workers/sampling.ts";
export { type ParallelOptions, parallelTrainingStep } from "./workers/training.ts";
