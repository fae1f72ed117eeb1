/** A sampler for a model folder, on an engine's device and within the available memory. */

import type { Engine } from "../engine/engine.ts";
import { defaultThreads } from "../engine/threads.ts";
import { externalModel } from "../files/external.ts";
import { freeMemory } from "../files/free-memory.ts";
import { freeGpuMemory } from "../files/gpu-memory.ts";
import type { ModelFolder } from "../files/model.ts";
import { samplingBytes, type SamplingSize, samplingWithin, sizeOf } from "../sample/memory.ts";
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
/** The memory that is used of a GPU which does not tell how much it has: nearly all have this much. */
const leastGpuMemory = 2e9;

/** Uses as many threads (on the CPU) and images at once as fit in memory. */
export function openSampler(
  engine: Engine,
  model: ModelFolder,
  { count, memory, threads = defaultThreads(), batch, ...flags }: SamplerOptions,
): { sampler: Sampler; batch: number } {
  const weightBytes = [...model.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  const size = { ...sizeOf(model.config, flags), weightBytes };
  if (engine.provider !== "cpu") {
    const most = Math.min(batch ?? gpuBatch, count);
    const known = memory ?? freeGpuMemory();
    const sampler = createSampler(engine, externalModel(model));
    if (known === undefined && batch !== undefined) return { sampler, batch };
    return { sampler, batch: gpuBatchWithin(model, { ...size, batch: most }, known) };
  }
  const asked = { ...size, batch: Math.min(batch ?? usualBatch, count), lanes: threads };
  const within = samplingWithin(model.config, asked, memory ?? freeMemory());
  return { sampler: parallelSampler(model, { threads, lanes: within.lanes }), batch: within.batch };
}

/** The images at once that fit in a GPU; one if its memory is unknown and not even that is sure to fit. */
function gpuBatchWithin(
  { config }: ModelFolder,
  size: Omit<SamplingSize, "lanes">,
  memory: number | undefined,
): number {
  const asked = { ...size, lanes: 1 };
  if (memory !== undefined) return samplingWithin(config, asked, memory).batch;
  const fits = samplingBytes(config, { ...asked, batch: 1 }) <= leastGpuMemory;
  return fits ? samplingWithin(config, asked, leastGpuMemory).batch : 1;
}
