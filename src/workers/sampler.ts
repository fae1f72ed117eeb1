/** A sampler for a model folder, on an engine's device and within the available memory. */

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

/** On the CPU, uses as many threads and images at once as fit in memory. */
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
