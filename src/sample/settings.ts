/** The settings that generated images depend on besides class, seed and index, with defaults from the model. */

import { drawingLevels, type ModelConfig, placedLevels } from "../config/model.ts";
import {
  type SamplingFlags,
  type SamplingName,
  samplingNames,
  samplingSetting,
  samplingSettings,
  type SamplingSettings,
} from "../config/sampling.ts";
import type { Spread } from "../config/setting.ts";
import { UserError } from "../core/errors.ts";

export type { SamplingFlags, SamplingSettings };

/**
 * Completes the settings with the model's own. Throws a UserError if a list does not fit the model's levels and
 * channels.
 */
export function settingsOf(flags: SamplingFlags, config: ModelConfig): SamplingSettings {
  const completed = (name: SamplingName): unknown => {
    const { usual = tokensOf(config) } = samplingSetting(name);
    return fits[samplingSettings[name].kind](name, (flags[name] ?? config.sampling[name] ?? usual) as never, config);
  };
  return Object.fromEntries(samplingNames.map((name) => [name, completed(name)])) as unknown as SamplingSettings;
}

const tokensOf = (config: ModelConfig): number[] => placedLevels(config).map((level) => level.tokens);

type SamplingKind = (typeof samplingSettings)[SamplingName]["kind"];

/** For each kind of setting, its value for a model. Throws a UserError if it does not fit the model. */
const fits: Record<SamplingKind, (name: SamplingName, value: never, config: ModelConfig) => unknown> = {
  number: (_, value) => value,
  choice: (_, value) => value,
  spread: fitted,
  wholes: oneForEachLevel,
};

function oneForEachLevel(setting: SamplingName, value: readonly number[], config: ModelConfig): readonly number[] {
  const tokens = tokensOf(config);
  if (value.length === tokens.length) return value;
  throw new UserError({
    subject: { setting },
    expected: `${tokens.length} numbers, one for each of the model's levels above the pixels, such as ${tokens.join(",")}`,
    got: String(value.length),
  });
}

/** Checks a spread and returns its shortest form: one number if all are equal. */
function fitted(setting: SamplingName, value: Spread, config: ModelConfig): Spread {
  if (typeof value === "number") return value;
  const levels = drawingLevels(config);
  if (value.length !== 1 && value.length !== levels.length)
    throw new UserError({
      subject: { setting },
      expected:
        levels.length === 1
          ? "one number, because only the pixels of this model draw colours"
          : `one number or ${levels.length}, one for each of the model's levels that draw colours (${levels.map((l) => l + 1).join(", ")})`,
      got: String(value.length),
    });
  const short = value.map((level) => {
    if (typeof level === "number") return level;
    if (level.length !== config.channels)
      throw new UserError({
        subject: { setting },
        expected: `one number or ${config.channels} for a level, one for each of the model's channels`,
        got: String(level.length),
      });
    return level.every((one) => one === level[0]) ? level[0] : level;
  });
  const [first] = short;
  return typeof first === "number" && short.every((one) => one === first) ? first : short;
}
