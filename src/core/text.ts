/** Text from outside (names in files, what a library said) made fit for a message. Knows nothing of terminals or files. */

/** Controls, marks that turn the direction of text, halves of pairs, private characters. The joiners of scripts and emoji stay. */
const unfit = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const named: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u200c": "\u200c", "\u200d": "\u200d" };

function escape(character: string): string {
  const code = character.codePointAt(0)!;
  return named[character] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`);
}

/** Every character that a reader could not see, or that steers a terminal, as an escape such as `\x1b`. */
export const visible = (text: string): string => text.replace(unfit, escape);

/** The same line by line, for text of several lines. */
export const visibleLines = (text: string): string => text.split("\n").map(visible).join("\n");

/** The longest sentence that a message may be. */
export const longestMessage = 500;

/** At most `most` characters: the start and the end, which say most, with `…` between them. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const start = Math.ceil((most - 1) * 0.6);
  return `${text.slice(0, start)}…${text.slice(text.length - (most - 1 - start))}`;
}

/**
 * A foreign value in a message, visible and at most `most` characters long. Only text and numbers are shown themselves: to
 * print a list or a dict can take longer than a lifetime.
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

/** A whole message: visible and not too long. */
export const message = (text: string): string =>
  shortened(visible(shortened(text, 2 * longestMessage)), longestMessage);
