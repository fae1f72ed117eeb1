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
export { externalModel } from "./files/external.ts";
export { readModelFolder, writeModelFolder } from "./files/model.ts";
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
export { type SamplingSize, samplingWithin } from "./sample/memory.ts";
export { createSampler, type Frame, type SampleOptions, type Sampler } from "./sample/sampler.ts";
export { dataRecord, fineTunedState, loadCheckpoint, saveCheckpoint, startingState } from "./train/checkpoint.ts";
export { settingsWithin } from "./train/memory.ts";
export type { TrainingStep } from "./train/step.ts";
export { train, type TrainingRecord, type TrainingRun } from "./train/trainer.ts";
export { parallelSampler } from "./workers/sampling.ts";
export { parallelTrainingStep } from "./workers/training.ts";
