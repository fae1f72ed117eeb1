/** A sampler for a model folder, on an engine's device and within the available memory. */

import type { Engine } from "../engine/engine.ts";
import { defaultThreads } from "../engine/threads.ts";
import { externalModel } from "../files/external.ts";
import { freeMemory } from "../files/free-memory.ts";
import { freeGpuMemory } from "../files/gpu-memory.ts";
import type { ModelFolder } from "../files/model.ts";
import { samplingBytes, samplingWithin, sizeOf } from "../sample/memory.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import type { SamplingSettings } from "../sample/settings.ts";
import { parallelSampler } from "./sampling.ts";

export interface SamplerOptions extends SamplingSettings {
  count: number;
  /** At most so many images at once; by default 16 on the CPU, and on a GPU as many as are known to fit. */
  batch?: number;
  /** Limit in bytes: of the machine's memory, or of the GPU's. */
  memory?: number;
  threads?: number;
}

/** Images at once on the CPU, where more are hardly faster. */
export const usualBatch = 16;
/** Images at once on a GPU, for which small runs leave most of it idle. */
const gpuBatch = 256;
/** The memory that is used of a GPU if it is not known how much is free: nearly all have this much. */
const leastGpuMemory = 2e9;
/** The share of a GPU's free memory that is used: other programs draw on the screen. */
const gpuShare = 0.8;

/** Uses as many threads (on the CPU) and images at once as fit in memory. */
export function openSampler(
  engine: Engine,
  model: ModelFolder,
  { count, memory, threads = defaultThreads(), batch, ...flags }: SamplerOptions,
): { sampler: Sampler; batch: number } {
  const weightBytes = [...model.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  const size = { ...sizeOf(model.config, flags), weightBytes };
  if (engine.provider !== "cpu") {
    const sampler = createSampler(engine, externalModel(model));
    const asked = { ...size, batch: Math.min(batch ?? gpuBatch, count), lanes: 1, onGpu: true };
    if (memory !== undefined) return { sampler, batch: samplingWithin(model.config, asked, memory).batch };
    const free = freeGpuMemory();
    if (free === undefined && batch !== undefined) return { sampler, batch };
    // Nothing is refused without a limit of the user's: these numbers are estimates.
    const within = free === undefined ? leastGpuMemory : gpuShare * free;
    const fits = samplingBytes(model.config, { ...asked, batch: 1 }) <= within;
    return { sampler, batch: fits ? samplingWithin(model.config, asked, within).batch : 1 };
  }
  const asked = { ...size, batch: Math.min(batch ?? usualBatch, count), lanes: threads };
  const within = samplingWithin(model.config, asked, memory ?? freeMemory());
  return { sampler: parallelSampler(model, { threads, lanes: within.lanes }), batch: within.batch };
}
