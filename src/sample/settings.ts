/** What generated images depend on beside class, seed and index, completed from what the model says. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import type { Schedule } from "./schedule.ts";

export interface SamplingFlags {
  guidance?: number;
  schedule?: Schedule;
  temperature?: number;
  filterThreshold?: number;
  iterations?: number[];
}

export type SamplingSettings = Required<SamplingFlags>;

/** With the model's own where none was given; `option` is what gave the iterations. */
export function settingsOf(
  flags: SamplingFlags,
  config: ModelConfig,
  { option = "--iterations" } = {},
): SamplingSettings {
  const { sampling } = config;
  const tokens = placedLevels(config).map((level) => level.tokens);
  const { iterations = sampling.iterations ?? tokens } = flags;
  if (iterations.length !== tokens.length)
    throw new UserError(
      `${option}: expected ${tokens.length} numbers, one for each of the model's levels above the pixels, such as ${tokens.join(",")}, got ${iterations.length}`,
    );
  return {
    guidance: flags.guidance ?? sampling.guidance,
    schedule: flags.schedule ?? sampling.schedule,
    temperature: flags.temperature ?? sampling.temperature,
    filterThreshold: flags.filterThreshold ?? sampling.filterThreshold,
    iterations,
  };
}
