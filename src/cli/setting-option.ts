/** Turns a declared setting into a command-line option. */

import { Option } from "commander";
import type { SettingKind, KindName } from "../config/setting.ts";
import { settingParser } from "./values.ts";
import { optionOf } from "./wording.ts";

const symbols: Record<KindName, string> = {
  number: "x",
  whole: "n",
  wholes: "list",
  numbers: "list",
  factors: "list",
  pair: "list",
  spread: "x",
  choice: "name",
  several: "names",
  flag: "",
};

/** `alias` is a shorter name, such as "lr". */
export function settingOption(
  name: string,
  setting: SettingKind,
  { help, symbol = symbols[setting.kind], alias }: { help: string; symbol?: string; alias?: string },
): Option {
  const names = [...(alias ? [`--${alias}`] : []), optionOf(name)].join(", ");
  if (setting.kind === "flag") return new Option(names, help);
  const option = new Option(`${names} <${symbol}>`, help);
  if (setting.kind === "choice") option.choices(setting.choices);
  return option.argParser(settingParser(name, setting));
}
