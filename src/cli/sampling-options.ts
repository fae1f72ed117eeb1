/** The options that generated images depend on, and a sampler on the device asked for. */

import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { samplingNames, samplingSetting } from "../config/sampling.ts";
import type { Engine } from "../engine/engine.ts";
import { externalModel } from "../files/external.ts";
import type { ModelFolder } from "../files/model.ts";
import { samplingWithin, sizeOf } from "../sample/memory.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import { type SamplingFlags, type SamplingSettings, settingsOf } from "../sample/settings.ts";
import { parallelSampler } from "../workers/sampling.ts";
import { settingOption } from "./setting-option.ts";
import { freeMemory } from "./space.ts";

export { type SamplingFlags, type SamplingSettings, settingsOf };

export function addSamplingOptions(command: Command): Command {
  for (const name of samplingNames) {
    const setting = samplingSetting(name);
    const { help, note, symbol } = setting;
    command.addOption(settingOption(name, setting, { help: note ? `${help}. ${note}` : help, symbol }));
  }
  return command;
}

interface SamplerFlags extends SamplingSettings {
  count: number;
  batch: number;
  memory?: number;
  threads?: number;
}

/** On the CPU as many threads, and as many images side by side, as memory has room for. */
export function openSampler(
  engine: Engine,
  model: ModelFolder,
  { count, memory = freeMemory(), threads = availableParallelism(), ...flags }: SamplerFlags,
): { sampler: Sampler; batch: number } {
  if (engine.provider !== "cpu") return { sampler: createSampler(engine, externalModel(model)), batch: flags.batch };
  const weightBytes = [...model.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  const size = { ...sizeOf(model.config, flags), batch: Math.min(flags.batch, count), lanes: threads, weightBytes };
  const { batch, lanes } = samplingWithin(model.config, size, memory);
  return { sampler: parallelSampler(model, { threads, lanes }), batch };
}
