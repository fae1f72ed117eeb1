/** The combinations of sampling settings that a sweep tries. Its options follow from the table of settings. */

import { createHash } from "node:crypto";
import { type Command, Option } from "commander";
import { settingParser } from "../src/cli/values.ts";
import { optionOf } from "../src/cli/wording.ts";
import {
  recordedSampling,
  type SamplingFlags,
  type SamplingName,
  samplingNames,
  samplingSetting,
  type SamplingSettings,
} from "../src/config/sampling.ts";
import { writeSetting } from "../src/config/setting.ts";

/** For each swept setting, its values. */
export type SweptValues = { [N in SamplingName]?: readonly SamplingSettings[N][] };

/**
 * The values of a setting in text such as "1,1.5,2". Values that contain commas themselves are separated by colons:
 * "32,16:64,16", or "0,0,0.05:" for a single one.
 */
export function sweptValues<N extends SamplingName>(name: N, text: string): SamplingSettings[N][] {
  const setting = samplingSetting(name);
  const isList = setting.kind === "wholes" || setting.kind === "numbers";
  const parts = text.split(isList || text.includes(":") ? ":" : ",");
  if (parts.length > 1 && parts.at(-1) === "") parts.pop();
  return parts.map((part) => settingParser(name, setting)(part) as SamplingSettings[N]);
}

export function addSweptOptions(command: Command): Command {
  command.optionsGroup("Values to try (default: the model's own):");
  for (const name of samplingNames) {
    const option = new Option(`${optionOf(name)} <values>`, samplingSetting(name).help);
    command.addOption(option.argParser((text) => sweptValues(name, text)));
  }
  return command;
}

/** Every combination of the values, each once. The last setting changes fastest. */
export function combinationsOf(swept: SweptValues): SamplingFlags[] {
  let found: SamplingFlags[] = [{}];
  for (const name of samplingNames)
    if (swept[name]) found = found.flatMap((flags) => swept[name]!.map((value) => ({ ...flags, [name]: value })));
  return [...new Map(found.map((flags) => [JSON.stringify(flags), flags])).values()];
}

/** The settings with several values, which tell combinations apart. If there are none, all swept settings. */
export function varied(swept: SweptValues): SamplingName[] {
  const names = samplingNames.filter((name) => swept[name]);
  const several = names.filter((name) => swept[name]!.length > 1);
  return several.length > 0 ? several : names;
}

/** A setting's value as on the command line. */
export const valueText = (name: SamplingName, settings: SamplingFlags): string =>
  writeSetting(samplingSetting(name), settings[name] as never);

/** "guidance 1.5, temperature 0.9" */
export const inWords = (names: readonly SamplingName[], settings: SamplingFlags): string =>
  names.map((name) => `${optionOf(name).slice(2)} ${valueText(name, settings)}`).join(", ") || "the model's settings";

/** A hash of everything that a combination's images depend on; with `more`, of its measures too. */
export const keyOf = (settings: SamplingSettings, drawn: object): string =>
  createHash("sha256")
    .update(JSON.stringify({ ...recordedSampling(settings), ...drawn }))
    .digest("hex")
    .slice(0, 12);
