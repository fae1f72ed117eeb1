/** A sampler for a model folder, on the device of an engine and within the memory that there is. */

import type { Engine } from "../engine/engine.ts";
import { defaultThreads } from "../engine/threads.ts";
import { externalModel } from "../files/external.ts";
import { freeMemory } from "../files/free-memory.ts";
import type { ModelFolder } from "../files/model.ts";
import { samplingWithin, sizeOf } from "../sample/memory.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import type { SamplingSettings } from "../sample/settings.ts";
import { parallelSampler } from "./sampling.ts";

export interface SamplerOptions extends SamplingSettings {
  count: number;
  batch: number;
  memory?: number;
  threads?: number;
}

/** On the CPU as many threads, and as many images side by side, as memory has room for. */
export function openSampler(
  engine: Engine,
  model: ModelFolder,
  { count, memory = freeMemory(), threads = defaultThreads(), ...flags }: SamplerOptions,
): { sampler: Sampler; batch: number } {
  if (engine.provider !== "cpu") return { sampler: createSampler(engine, externalModel(model)), batch: flags.batch };
  const weightBytes = [...model.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  const size = { ...sizeOf(model.config, flags), batch: Math.min(flags.batch, count), lanes: threads, weightBytes };
  const { batch, lanes } = samplingWithin(model.config, size, memory);
  return { sampler: parallelSampler(model, { threads, lanes }), batch };
}
