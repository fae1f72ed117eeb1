/** Parsers of option values: one clear sentence for what is no number or out of range. */

import { InvalidArgumentError } from "commander";

interface Range {
  least?: number;
  most?: number;
}

const between = ({ least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY }: Range): string =>
  most === Number.POSITIVE_INFINITY ? (least === Number.NEGATIVE_INFINITY ? "" : ` of at least ${least}`) : ` from ${least} to ${most}`;

export const number =
  (range: Range = {}) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < (range.least ?? value) || value > (range.most ?? value))
      throw new InvalidArgumentError(`Expected a number${between(range)}, got "${text}".`);
    return value;
  };

export const whole =
  (range: Range = {}) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value) || value < (range.least ?? value) || value > (range.most ?? value))
      throw new InvalidArgumentError(`Expected a whole number${between(range)}, got "${text}".`);
    return value;
  };

/** "64,16" as [64, 16]. */
export const wholes =
  (range: Range = {}) =>
  (text: string): number[] =>
    text.split(",").map(whole(range));
