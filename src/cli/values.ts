/** Parsers for option values. Their errors say what was expected and what was given; the caller prefixes the option's name. */

import { InvalidArgumentError, Option } from "commander";
import {
  type Bounds,
  boundsInWords,
  type SettingKind,
  readSetting,
  type SettingValue,
  within,
} from "../config/setting.ts";
import { didYouMean, UserError, worded } from "../core/errors.ts";
import { optionWording } from "./wording.ts";

const quoted = (text: string): string => (text === "" ? "an empty string" : JSON.stringify(text));

function parsed(text: string, bounds: Bounds, kind: { name: string; is: (value: unknown) => boolean }): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!kind.is(value) || !within(value, bounds))
    throw new InvalidArgumentError(`expected ${kind.name}${boundsInWords(bounds)}, got ${quoted(text)}`);
  return value;
}

export const number =
  (range: Bounds = {}) =>
  (text: string): number =>
    parsed(text, range, { name: "a number", is: Number.isFinite });

export const whole =
  (range: Bounds = {}) =>
  (text: string): number =>
    parsed(text, range, { name: "a whole number", is: Number.isSafeInteger });

/** A seed for random numbers. */
export const seeds = whole({ least: 0, most: Number.MAX_SAFE_INTEGER });

/** "64,16" as [64, 16]. */
export const wholes =
  (range: Bounds = {}) =>
  (text: string): number[] =>
    text.split(",").map((part) => whole(range)(part));

/** Parses a declared setting. Errors omit the option's name, because commander adds it. */
export const settingParser =
  <S extends SettingKind>(name: string, kind: S) =>
  (text: string): SettingValue<S> => {
    try {
      return readSetting(name, kind, text);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw new InvalidArgumentError(worded({ ...error.mistake, subject: undefined }, optionWording));
    }
  };

const units: Record<string, number> = { "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12, ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30 };

/** An amount of memory, "3GB" or "512 MiB", in bytes. */
export function bytes(text: string): number {
  const [, amount, unit] = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?\s*$/i.exec(text) ?? [];
  const found = Number(amount) * (units[unit?.toLowerCase()] ?? Number.NaN);
  if (!(found > 0)) throw new InvalidArgumentError(`expected an amount such as 3GB or 512MB, got ${quoted(text)}`);
  return found;
}

/** A path or a name: any text that is not blank. */
export const filled = (text: string): string => {
  if (text.trim() === "") throw new InvalidArgumentError("expected a name, got an empty string");
  return text;
};

/** The values of an option that can be repeated. */
export const several = (text: string, before: string[] = []): string[] => [...before, filled(text)];

/** Joins the values of a repeated option with commas. */
export const collected = (text: string, before: string | undefined): string =>
  before === undefined ? text : `${before},${text}`;

export const oneOf =
  <const T extends string>(choices: readonly T[]) =>
  (text: string): T => {
    const found = choices.find((one) => one === text);
    if (found === undefined)
      throw new InvalidArgumentError(
        `expected ${choices.join(" or ")}, got ${quoted(text)}${didYouMean(text, choices)}`,
      );
    return found;
  };

/** An option that accepts one of several words. */
export const choice = <const T extends string>(flags: string, description: string, choices: readonly T[]): Option =>
  new Option(flags, description).choices(choices).argParser(oneOf(choices));
