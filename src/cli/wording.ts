/** Words user errors for the command line, where settings are options. */

import { type UserError, worded, type Wording } from "../core/errors.ts";
import { kebabCase } from "../core/names.ts";

export const optionOf = (setting: string): string => `--${kebabCase(setting)}`;

export const optionWording: Wording = {
  setting: optionOf,
  hint: ({ do: text, setting, value, command }) => {
    const option = setting && [optionOf(setting), ...(value ? [value] : [])].join(" ");
    const means = [...(option ? [option] : []), ...(command ? [`fractalgen ${command}`] : [])];
    return means.length > 0 ? `${text} (${means.join(", ")})` : text;
  },
};

export const sentenceOf = ({ mistake }: UserError): string => worded(mistake, optionWording);
