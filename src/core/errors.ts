/** User errors as data. Knows no command line, request or page; each of these words them for its own users. */

import editDistance from "leven";
import { message as fitting } from "./text.ts";

/** A setting, by its name in code, such as "filterThreshold". Each app translates it to the name its users know. */
export interface SettingName {
  setting: string;
  /** The position within its value, such as "[0]". */
  at?: string;
}

/** What to do, with the setting (and value) or command that does it, if there is one. */
export type Hint = string | { do: string; setting?: string; value?: string; command?: string };

/** A user error as data, which each app words in its own way. */
export interface Mistake {
  /** The thing that is wrong: a setting, or in words a file, a class or anything else. */
  subject?: string | SettingName;
  /** What happened, unless "expected ..., got ..." says it all. */
  problem?: string;
  expected?: string;
  got?: string;
  /** What to do about it; several hints are alternatives. */
  hint?: Hint | readonly Hint[];
}

/** How an app words the parts that depend on it. */
export interface Wording {
  /** The name of a setting, such as "--filter-threshold". */
  setting(name: string): string;
  /** The text of a hint, including its setting or command. */
  hint(hint: Exclude<Hint, string>): string;
}

const plainWording: Wording = { setting: (name) => name, hint: (hint) => hint.do };

/**
 * An error made by the user, given as one sentence or as its parts. `message` is the plain sentence, in which settings
 * have their names in code; `worded` produces the same sentence in an app's own words.
 */
export class UserError extends Error {
  override name = "UserError";
  /** Private, so that test frameworks and loggers treat errors with the same message as equal. */
  readonly #mistake: Mistake;

  constructor(mistake: string | Mistake, options?: ErrorOptions) {
    const parts = typeof mistake === "string" ? { problem: mistake } : mistake;
    super(worded(parts, plainWording), options);
    this.#mistake = parts;
  }

  get mistake(): Mistake {
    return this.#mistake;
  }

  /** The setting that is wrong, if the error is about one. */
  get setting(): string | undefined {
    const { subject } = this.#mistake;
    return typeof subject === "object" ? subject.setting : undefined;
  }
}

/**
 * The sentence "subject: problem, expected this, got that; do this or that" with the parts that exist. Safe to print on
 * a terminal, whatever external text it contains.
 */
export function worded({ subject, problem, expected, got, hint = [] }: Mistake, wording: Wording): string {
  const facts = [
    ...(problem === undefined ? [] : [problem]),
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(got === undefined ? [] : [`got ${got}`]),
  ].join(", ");
  const about = typeof subject === "object" ? `${wording.setting(subject.setting)}${subject.at ?? ""}` : subject;
  const hints = [hint].flat().map((one) => (typeof one === "string" ? one : wording.hint(one)));
  return fitting(
    `${about === undefined ? "" : `${about}: `}${facts}${hints.length > 0 ? `; ${alternatives(hints)}` : ""}`,
  );
}

/** Joins alternatives: "a", "a or b", "a, b or c". */
export const alternatives = (all: readonly string[]): string =>
  all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} or ${all.at(-1)}`;

/** Longer words are not typing errors, and comparing them takes long. */
const longestWord = 64;

/**
 * The candidate most similar to `word` (Levenshtein distance at most half its length), as a hint: `; did you mean
 * "face"?`
 */
export function didYouMean(word: string, candidates: readonly string[]): string {
  if (word.length > longestWord) return "";
  const most = Math.max(2, word.length / 2);
  const scored = candidates
    .filter((candidate) => Math.abs(candidate.length - word.length) <= most)
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = scored[0];
  return best && best.distance <= most ? `; did you mean "${best.candidate}"?` : "";
}
