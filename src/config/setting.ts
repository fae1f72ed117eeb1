/**
 * The kinds of settings: the values allowed, in words, as a schema and as text. One row per kind; the settings
 * themselves are in sampling.ts and training.ts. Knows no app.
 */

import { z } from "zod";
import { alternatives, didYouMean, UserError } from "../core/errors.ts";

/** The bounds of a number. */
export interface Bounds {
  least?: number;
  /** The value must be greater than this. */
  above?: number;
  most?: number;
}

/**
 * One number for all draws; or a list with an entry for each level that draws bytes, each a number or a list with one
 * per channel.
 */
export type Spread = number | readonly (number | readonly number[])[];

/** The kinds of settings: the type of their value, and what else a setting of the kind declares. */
export interface SettingKinds {
  number: { value: number; more: Bounds };
  whole: { value: number; more: Bounds };
  /** A list of whole numbers, such as one for each level. */
  wholes: { value: readonly number[]; more: Bounds };
  /** A list of numbers, such as one for each level; it may be empty. */
  numbers: { value: readonly number[]; more: Bounds };
  /** A number for each name; 1 for names left out. */
  factors: { value: Readonly<Record<string, number>>; more: Bounds & { names: readonly string[] } };
  pair: { value: [number, number]; more: Bounds };
  spread: { value: Spread; more: Bounds };
  choice: { value: string; more: { choices: readonly [string, ...string[]] } };
  /** A subset of a few names. */
  several: { value: readonly string[]; more: { choices: readonly [string, ...string[]] } };
  flag: { value: boolean; more: object };
}

/** The names of the kinds of settings. */
export type KindName = keyof SettingKinds;
/** The kind of a setting, with its bounds or choices. */
export type SettingKind<K extends KindName = KindName> = { [N in K]: { kind: N } & SettingKinds[N]["more"] }[K];

/** The type of a setting's value. */
export type SettingValue<S extends SettingKind> = S extends { kind: "choice"; choices: readonly (infer C)[] }
  ? C
  : S extends { kind: "factors"; names: readonly (infer C extends string)[] }
    ? Readonly<Record<C, number>>
    : S extends { kind: "several"; choices: readonly (infer C)[] }
      ? readonly C[]
      : S extends { kind: infer N extends KindName }
        ? SettingKinds[N]["value"]
        : never;

interface Row<N extends KindName> {
  /** The expected value in words, such as "a number from 0 to 1". */
  words(kind: SettingKind<N>): string;
  schema(kind: SettingKind<N>): z.ZodType<SettingKinds[N]["value"]>;
  /** Parses text; undefined if it is not such a value. */
  read(text: string, kind: SettingKind<N>): SettingKinds[N]["value"] | undefined;
  write(value: SettingKinds[N]["value"]): string;
  /** Whether its text is a list of values that can be read one by one, so that an error can name the wrong one. */
  listed: boolean;
}

/** " from 0 to 1" or " above 0 and of at most 1000", with a leading space; empty if there are no bounds. */
export function boundsInWords({ least, above, most }: Bounds): string {
  if (least !== undefined && most !== undefined) return ` from ${least} to ${most}`;
  const low = above === undefined ? [] : [`above ${above}`];
  if (least !== undefined) low.push(`of at least ${least}`);
  if (most !== undefined) low.push(`of at most ${most}`);
  return low.length > 0 ? ` ${low.join(" and ")}` : "";
}

export const within = (value: number, { least = -Infinity, above = -Infinity, most = Infinity }: Bounds): boolean =>
  Number.isFinite(value) && value >= least && value > above && value <= most;

function bounded<S extends z.ZodNumber>(schema: S, { least, above, most }: Bounds): S {
  let found = schema;
  if (least !== undefined) found = found.min(least);
  if (above !== undefined) found = found.gt(above);
  if (most !== undefined) found = found.max(most);
  return found;
}

const numberIn = (text: string): number => (text.trim() === "" ? Number.NaN : Number(text));

function listIn<T>(text: string, separator: string, of: (part: string) => T | undefined): T[] | undefined {
  const found = text.split(separator).map(of);
  return found.includes(undefined) ? undefined : (found as T[]);
}

const wholeIn = (text: string, bounds: Bounds): number | undefined => {
  const value = numberIn(text);
  return Number.isSafeInteger(value) && within(value, bounds) ? value : undefined;
};

const realIn = (text: string, bounds: Bounds): number | undefined => {
  const value = numberIn(text);
  return within(value, bounds) ? value : undefined;
};

const kinds: { [N in KindName]: Row<N> } = {
  number: {
    listed: false,
    words: (bounds) => `a number${boundsInWords(bounds)}`,
    schema: (bounds) => bounded(z.number(), bounds),
    read: realIn,
    write: String,
  },
  whole: {
    listed: false,
    words: (bounds) => `a whole number${boundsInWords(bounds)}`,
    schema: (bounds) => bounded(z.int(), bounds),
    read: wholeIn,
    write: String,
  },
  wholes: {
    listed: true,
    words: (bounds) => `a list of whole numbers${boundsInWords(bounds)}`,
    schema: (bounds) => z.array(bounded(z.int(), bounds)).max(64),
    read: (text, bounds) => listIn(text, ",", (part) => wholeIn(part, bounds)),
    write: (value) => value.join(),
  },
  numbers: {
    listed: true,
    words: (bounds) => `a list of numbers${boundsInWords(bounds)}`,
    schema: (bounds) => z.array(bounded(z.number(), bounds)).max(64),
    read: (text, bounds) => listIn(text, ",", (part) => realIn(part, bounds)),
    write: (value) => value.join(),
  },
  factors: {
    listed: true,
    words: ({ names, ...bounds }) => `${names.join(", ")} as in ${names[0]}=2, each a number${boundsInWords(bounds)}`,
    schema: ({ names, ...bounds }) =>
      z.strictObject(Object.fromEntries(names.map((name) => [name, bounded(z.number(), bounds).default(1)]))),
    read(text, { names, ...bounds }) {
      const given = listIn(text, ",", (part) => {
        const [name, value, ...more] = part.split("=");
        const number = realIn(value ?? "", bounds);
        return names.includes(name) && number !== undefined && more.length === 0
          ? ([name, number] as const)
          : undefined;
      });
      return given && { ...Object.fromEntries(names.map((name) => [name, 1])), ...Object.fromEntries(given) };
    },
    write: (value) =>
      Object.entries(value)
        .map(([name, factor]) => `${name}=${factor}`)
        .join(),
  },
  pair: {
    listed: false,
    words: (bounds) => `two numbers${boundsInWords(bounds)}, separated by a comma`,
    schema: (bounds) => z.tuple([bounded(z.number(), bounds), bounded(z.number(), bounds)]),
    read(text, bounds) {
      const found = listIn(text, ",", (part) => realIn(part, bounds));
      return found?.length === 2 ? [found[0], found[1]] : undefined;
    },
    write: (value) => value.join(),
  },
  spread: {
    listed: true,
    words: (bounds) => `a number${boundsInWords(bounds)}, or a list of them`,
    schema(bounds) {
      const one = bounded(z.number(), bounds);
      return z.union([
        one,
        z
          .array(z.union([one, z.array(one).min(1).max(4)]))
          .min(1)
          .max(64),
      ]);
    },
    read(text, bounds) {
      const levels = listIn(text, ",", (level) => {
        const channels = listIn(level, "/", (part) => realIn(part, bounds));
        return channels?.length === 1 ? channels[0] : channels;
      });
      return levels?.length === 1 && typeof levels[0] === "number" ? levels[0] : levels;
    },
    write: (value) =>
      typeof value === "number"
        ? String(value)
        : value.map((level) => (typeof level === "number" ? String(level) : level.join("/"))).join(),
  },
  choice: {
    listed: false,
    words: ({ choices }) => alternatives(choices),
    schema: ({ choices }) => z.enum(choices),
    read: (text, { choices }) => choices.find((choice) => choice === text),
    write: (value) => value,
  },
  several: {
    listed: true,
    words: ({ choices }) => `${choices.join(", ")}, comma-separated, or all, or none`,
    schema: ({ choices }) => z.array(z.enum(choices)),
    read(text, { choices }) {
      if (text === "none") return [];
      if (text === "all") return [...choices];
      const names = text.split(",").map((name) => name.trim());
      return names.every((name) => choices.includes(name)) ? choices.filter((name) => names.includes(name)) : undefined;
    },
    write: (value) => (value.length === 0 ? "none" : value.join()),
  },
  flag: {
    listed: false,
    words: () => "true or false",
    schema: () => z.boolean(),
    read: (text) => ({ true: true, false: false })[text],
    write: String,
  },
};

/** The row of a kind, without its specific type. The only place where that type is erased. */
const rowOf = (kind: SettingKind) =>
  kinds[kind.kind] as unknown as {
    words(kind: SettingKind): string;
    schema(kind: SettingKind): z.ZodType;
    read(text: string, kind: SettingKind): unknown;
    write(value: unknown): string;
    listed: boolean;
  };

/** Whether a setting's text is a list of values that can be read one by one. */
export const isListed = (kind: SettingKind): boolean => rowOf(kind).listed;

export const expectation = (kind: SettingKind): string => rowOf(kind).words(kind);

export const schemaOf = <S extends SettingKind>(kind: S): z.ZodType<SettingValue<S>> =>
  rowOf(kind).schema(kind) as z.ZodType<SettingValue<S>>;

/** Parses the value of a setting from text. Throws a UserError that says what was expected. */
export function readSetting<S extends SettingKind>(name: string, kind: S, text: string): SettingValue<S> {
  const value = rowOf(kind).read(text, kind);
  if (value !== undefined) return value as SettingValue<S>;
  const wrong =
    (isListed(kind) && text.split(/[,/]/).find((part) => rowOf(kind).read(part, kind) === undefined)) || text;
  const near =
    kind.kind === "choice"
      ? didYouMean(wrong, kind.choices)
      : kind.kind === "several"
        ? didYouMean(wrong, [...kind.choices, "all", "none"])
        : "";
  throw new UserError({
    subject: { setting: name },
    expected: expectation(kind),
    got: `${wrong === "" ? "an empty string" : JSON.stringify(wrong)}${near}`,
  });
}

/** Writes a value as text that `readSetting` can read back. */
export const writeSetting = <S extends SettingKind>(kind: S, value: SettingValue<S>): string =>
  rowOf(kind).write(value);
