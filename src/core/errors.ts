/** Mistakes of a user as data. Knows no command line, request or page: each of these words them for its own users. */

import editDistance from "leven";
import { message as fitting } from "./text.ts";

/** A setting by its name in programs, such as "filterThreshold"; each app knows what its users call it. */
export interface SettingName {
  setting: string;
  /** Where in its value, such as "[0]". */
  at?: string;
}

/** What to do, and the setting (with a value) or command that does it where there is one. */
export type Hint = string | { do: string; setting?: string; value?: string; command?: string };

/** What is wrong, as data that each app words in its own way. */
export interface Mistake {
  /** What is wrong: a setting, or a file, a class or anything else in words. */
  subject?: string | SettingName;
  /** What happened, where "expected …, got …" does not say it. */
  problem?: string;
  expected?: string;
  got?: string;
  /** What to do about it; several are alternatives. */
  hint?: Hint | readonly Hint[];
}

/** How an app words what the library cannot know. */
export interface Wording {
  /** What a setting is called, such as "--filter-threshold". */
  setting(name: string): string;
  /** A hint's text with the setting or command that it is about. */
  hint(hint: Exclude<Hint, string>): string;
}

const plainWording: Wording = { setting: (name) => name, hint: (hint) => hint.do };

/**
 * A mistake of the user's, as one sentence or as its parts. `message` is the plain sentence, in which settings have their
 * names in programs; `worded` gives the same in an app's own words.
 */
export class UserError extends Error {
  override name = "UserError";
  /** Private, so that errors with the same message stay equal to test frameworks and loggers. */
  readonly #mistake: Mistake;

  constructor(mistake: string | Mistake, options?: ErrorOptions) {
    const parts = typeof mistake === "string" ? { problem: mistake } : mistake;
    super(worded(parts, plainWording), options);
    this.#mistake = parts;
  }

  get mistake(): Mistake {
    return this.#mistake;
  }

  /** The setting that is wrong, if it is one. */
  get setting(): string | undefined {
    const { subject } = this.#mistake;
    return typeof subject === "object" ? subject.setting : undefined;
  }
}

/**
 * "subject: problem, expected this, got that; do this or that" with whichever parts there are. Fit for a terminal, whatever
 * foreign text is in it.
 */
export function worded({ subject, problem, expected, got, hint = [] }: Mistake, wording: Wording): string {
  const facts = [
    ...(problem === undefined ? [] : [problem]),
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(got === undefined ? [] : [`got ${got}`]),
  ].join(", ");
  const about = typeof subject === "object" ? `${wording.setting(subject.setting)}${subject.at ?? ""}` : subject;
  const hints = [hint].flat().map((one) => (typeof one === "string" ? one : wording.hint(one)));
  return fitting(`${about === undefined ? "" : `${about}: `}${facts}${hints.length > 0 ? `; ${inWords(hints)}` : ""}`);
}

/** "a", "a or b", "a, b or c". */
const inWords = (all: readonly string[]): string =>
  all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} or ${all.at(-1)}`;

/** Longer words are no slips of the hand, and comparing them takes long. */
const longestWord = 64;

/** The candidate most like `word` (Levenshtein distance at most half its length), as a hint: `; did you mean "face"?` */
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
