/** The options that generated images depend on, and a sampler on the device asked for. */

import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import type { Engine } from "../engine/engine.ts";
import { externalModel } from "../files/external.ts";
import type { ModelFolder } from "../files/model.ts";
import { samplingWithin } from "../sample/memory.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import type { Schedule } from "../sample/schedule.ts";
import { type SamplingFlags, type SamplingSettings, settingsOf } from "../sample/settings.ts";
import { parallelSampler } from "../workers/sampling.ts";
import { freeMemory } from "./space.ts";
import { number, oneOf, wholes } from "./values.ts";

export { type SamplingFlags, type SamplingSettings, settingsOf };

const schedules = ["linear", "constant"] as const satisfies readonly Schedule[];

export const addSamplingOptions = (command: Command): Command =>
  command
    .option("--guidance <w>", "how strongly the class counts; 1: as trained", number({ least: 0, most: 1000 }))
    .addOption(
      new Option("--schedule <name>", "guidance over the first level's steps")
        .choices(schedules)
        .argParser(oneOf(schedules)),
    )
    .option("--temperature <t>", "logits are multiplied by it: above 1 sharpens", number({ above: 0, most: 1000 }))
    .option("--filter-threshold <p>", "guidance leaves less likely bytes alone", number({ least: 0, most: 1 }))
    .option(
      "--iterations <list>",
      "steps at each level above the pixels, such as 64,16",
      wholes({ least: 1, most: 65536 }),
    );

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
  const size = { batch: Math.min(flags.batch, count), lanes: threads, guided: flags.guidance !== 1, weightBytes };
  const { batch, lanes } = samplingWithin(model.config, { ...size, iterations: flags.iterations }, memory);
  return { sampler: parallelSampler(model, { threads, lanes }), batch };
}
