/** Parsers of option values: what was expected and what came, for a sentence that the option's name begins. */

import { InvalidArgumentError } from "commander";
import { type Augmentation, augmentations } from "../config/training.ts";
import { didYouMean } from "../core/errors.ts";

interface Range {
  least?: number;
  /** The value has to be larger than this. */
  above?: number;
  most?: number;
}

function bounds({ least, above, most }: Range): string {
  if (least !== undefined && most !== undefined) return ` from ${least} to ${most}`;
  const low = above === undefined ? [] : [`above ${above}`];
  if (least !== undefined) low.push(`of at least ${least}`);
  if (most !== undefined) low.push(`of at most ${most}`);
  return low.length > 0 ? ` ${low.join(" and ")}` : "";
}

const quoted = (text: string): string => (text === "" ? "an empty text" : JSON.stringify(text));

function parsed(
  text: string,
  { least, above, most }: Range,
  kind: { name: string; is: (value: unknown) => boolean },
): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!kind.is(value) || value < (least ?? value) || value > (most ?? value) || (above !== undefined && value <= above))
    throw new InvalidArgumentError(`expected ${kind.name}${bounds({ least, above, most })}, got ${quoted(text)}`);
  return value;
}

export const number =
  (range: Range = {}) =>
  (text: string): number =>
    parsed(text, range, { name: "a number", is: Number.isFinite });

export const whole =
  (range: Range = {}) =>
  (text: string): number =>
    parsed(text, range, { name: "a whole number", is: Number.isSafeInteger });

/** What random draws begin with. */
export const seeds = whole({ least: 0, most: Number.MAX_SAFE_INTEGER });

/** "64,16" as [64, 16]. */
export const wholes =
  (range: Range = {}) =>
  (text: string): number[] =>
    text.split(",").map((part) => whole(range)(part));

/** "0.5,0.25" as [0.5, 0.25]. */
export const numbers =
  (range: Range = {}) =>
  (text: string): number[] =>
    text.split(",").map((part) => number(range)(part));

/** "shift,flip" as ways to augment; "all" and "none" as well. */
export function ways(text: string): Augmentation[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.length === 1 && names[0] === "none") return [];
  if (names.length === 1 && names[0] === "all") return [...augmentations];
  const wrong = names.find((name) => !(augmentations as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new InvalidArgumentError(
      `expected ${augmentations.join(", ")}, comma-separated, or all, or none, got ${quoted(wrong)}${didYouMean(wrong, augmentations)}`,
    );
  return augmentations.filter((name) => names.includes(name));
}

const units: Record<string, number> = { "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12, ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30 };

/** An amount of memory, "3GB" or "512 MiB", in bytes. */
export function bytes(text: string): number {
  const [, amount, unit] = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?\s*$/i.exec(text) ?? [];
  const found = Number(amount) * (units[unit?.toLowerCase()] ?? Number.NaN);
  if (!(found > 0)) throw new InvalidArgumentError(`expected an amount such as 3GB or 512MB, got ${quoted(text)}`);
  return found;
}

/** A path or a name: anything but nothing. */
export const filled = (text: string): string => {
  if (text.trim() === "") throw new InvalidArgumentError("expected a name, got an empty text");
  return text;
};

/** Names that a repeated option adds to. */
export const collected = (text: string, before: string | undefined): string =>
  before === undefined ? text : `${before},${text}`;

export const oneOf =
  <const T extends string>(choices: readonly T[]) =>
  (text: string): T => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined)
      throw new InvalidArgumentError(
        `expected ${choices.join(" or ")}, got ${quoted(text)}${didYouMean(text, choices)}`,
      );
    return found;
  };
