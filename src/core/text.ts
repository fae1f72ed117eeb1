/**
 * Makes external text (names in files, messages of libraries) safe to show in messages. Knows nothing of terminals or
 * files.
 */

/**
 * Control characters, direction marks, unpaired surrogates and private-use characters. The joiners used by scripts and
 * emoji are kept.
 */
const unfit = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const named: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u200c": "\u200c", "\u200d": "\u200d" };

function escape(character: string): string {
  const code = character.codePointAt(0)!;
  return named[character] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`);
}

/** Replaces every character that is invisible, or that controls a terminal, by an escape such as `\x1b`. */
export const visible = (text: string): string => text.replace(unfit, escape);

/** The same for text of several lines, keeping the line breaks. */
export const visibleLines = (text: string): string => text.split("\n").map(visible).join("\n");

/** The maximum length of a message. */
export const longestMessage = 500;

/**
 * Shortens text to at most `most` characters: the start and the end, which are most informative, with an ellipsis
 * between them.
 */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const start = Math.ceil((most - 1) * 0.6);
  return `${text.slice(0, start)}…${text.slice(text.length - (most - 1 - start))}`;
}

/**
 * Formats an external value for a message, with visible characters and at most `most` of them. Lists and dicts of any
 * size are only named, because printing one can take practically forever.
 */
export function shown(value: unknown, most = 80): string {
  if (typeof value === "string") return shortened(visible(shortened(value, 2 * most)), most);
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint")
    return shortened(String(value), most);
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return value.length > 0 && isShort(value) ? `[${value.join(", ")}]` : "a list";
  return value instanceof Map ? "a dict" : "an object";
}

const isShort = (list: readonly unknown[]) => list.length <= 8 && list.every((item) => typeof item === "number");

/** Makes a message visible and limits its length. */
export const message = (text: string): string =>
  shortened(visible(shortened(text, 2 * longestMessage)), longestMessage);

/** Formats a list of names for a message; a long list is shortened. */
export const listed = (names: readonly string[]): string => {
  const some = (names.length > 8 ? names.slice(0, 6) : names).map((name) => shown(name, 60)).join(", ");
  return names.length > 8 ? `${some} and ${names.length - 6} more` : some;
};
