/** The sampling options, which affect the generated images. */

import type { Command } from "commander";
import { samplingNames, samplingSetting } from "../config/sampling.ts";
import { type SamplingFlags, type SamplingSettings, settingsOf } from "../sample/settings.ts";
import { settingOption } from "./setting-option.ts";

export { type SamplingFlags, type SamplingSettings, settingsOf };

export function addSamplingOptions(command: Command): Command {
  for (const name of samplingNames) {
    const setting = samplingSetting(name);
    const { help, note, symbol } = setting;
    command.addOption(settingOption(name, setting, { help: note ? `${help}. ${note}` : help, symbol }));
  }
  return command;
}
