/** Finds the emoji pictures in the installed packages, and the emoji that each one shows. Knows nothing of pixels. */

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { UserError } from "../core/errors.ts";
import { classOfEmoji, normalCodePoints, type EmojiRow } from "./emoji-classes.ts";
import { type EmojiSet, emojiSources } from "./emoji-sets.ts";

export interface EmojiIcon {
  /** `set/code points`, such as `noto/2764`. */
  name: string;
  code: string;
  /** What to render: SVG whose root element the renderer sizes, or the path of a PNG. */
  picture: { svgBody: string; width: number; height: number } | { file: string };
}

interface IconifySet {
  width?: number;
  height?: number;
  icons: Record<string, { body: string; width?: number; height?: number }>;
  aliases?: Record<string, { parent: string }>;
}

const require = createRequire(import.meta.url);
const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;
const packageOf = (set: EmojiSet): string => emojiSources[set].package;

/** The folder of an installed package; throws a UserError if it is not installed. */
function packageFolder(name: string): string {
  try {
    return join(require.resolve(`${name}/package.json`), "..");
  } catch {
    throw new UserError({
      problem: `the emoji data set is made from the npm package ${name}, which is not installed`,
      hint: `run "npm install ${name}"`,
    });
  }
}

// Two sets with code point tables provide the icon names for the sets without one.
const namingSets = ["noto", "fluent-emoji-flat"] as const;

/** `package@version` of every package used for the data set of `sets`. */
export function emojiPackages(sets: readonly EmojiSet[]): string[] {
  const names = ["emoji-datasource", ...namingSets.map(packageOf), ...sets.map(packageOf)];
  return [...new Set(names)].map((name) => {
    const { version } = readJson<{ version: string }>(join(packageFolder(name), "package.json"));
    return `${name}@${version}`;
  });
}

/** The rows of emoji-datasource's list of all emoji. */
export const emojiRows = (): EmojiRow[] => readJson(join(packageFolder("emoji-datasource"), "emoji.json"));

/**
 * Every icon of the sets that shows a known emoji without a skin tone, set by set and sorted by code points within a
 * set; at most one icon per emoji and set.
 */
export function emojiIcons(sets: readonly EmojiSet[], rows: readonly EmojiRow[]): EmojiIcon[] {
  const known = classOfEmoji(rows);
  const codes = codesByName(rows);
  return sets.flatMap((set) => {
    const icons = set === "flags" ? flagIcons(rows) : vectorIcons(set, codes, known);
    return icons.sort((a, b) => (a.code < b.code ? -1 : 1));
  });
}

function flagIcons(rows: readonly EmojiRow[]): EmojiIcon[] {
  const folder = join(packageFolder(packageOf("flags")), "img", "google", "64");
  return rows
    .filter(({ category, unified }) => category === "Flags" && existsSync(join(folder, `${unified.toLowerCase()}.png`)))
    .map(({ unified }) => {
      const code = normalCodePoints(unified);
      return { name: `flags/${code}`, code, picture: { file: join(folder, `${unified.toLowerCase()}.png`) } };
    });
}

function vectorIcons(
  set: EmojiSet,
  codes: ReadonlyMap<string, string>,
  known: ReadonlyMap<string, unknown>,
): EmojiIcon[] {
  const { width: commonWidth = 16, height: commonHeight = 16, icons } = iconSet(set);
  const own = ownCodes(set);
  const found = new Map<string, EmojiIcon>();
  for (const [iconName, { body, width = commonWidth, height = commonHeight }] of Object.entries(icons)) {
    const code = own ? own.get(iconName) : codes.get(letters(iconName));
    if (!code || !known.has(code) || found.has(code)) continue;
    found.set(code, { name: `${set}/${code}`, code, picture: { svgBody: body, width, height } });
  }
  return [...found.values()];
}

const iconSet = (set: EmojiSet) => readJson<IconifySet>(join(packageFolder(packageOf(set)), "icons.json"));

/** The set's own map from icon names to code points; undefined if it has none. */
function ownCodes(set: EmojiSet): Map<string, string> | undefined {
  const path = join(packageFolder(packageOf(set)), "chars.json");
  const chars = Object.entries(existsSync(path) ? readJson<Record<string, string>>(path) : {});
  return chars.length > 0 ? new Map(chars.map(([code, name]) => [name, normalCodePoints(code)])) : undefined;
}

const letters = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

// fxemoji's own names for hearts.
const otherNames: Record<string, string> = {
  "2hearts": "1f495",
  heartarrow: "1f498",
  heartgreen: "1f49a",
  heartpurple: "1f49c",
  heartyellow: "1f49b",
  heartribbon: "1f49d",
};

/** Maps icon names (letters and digits only) to code points; the first source that knows a name wins. */
function codesByName(rows: readonly EmojiRow[]): Map<string, string> {
  const codes = new Map<string, string>(Object.entries(otherNames));
  const add = (name: string, code: string) => {
    if (!codes.has(letters(name))) codes.set(letters(name), normalCodePoints(code));
  };
  for (const set of namingSets) for (const [name, code] of ownCodes(set) ?? []) add(name, code);
  for (const [alias, { parent }] of Object.entries(iconSet("noto").aliases ?? {})) {
    const code = codes.get(letters(parent));
    if (code) add(alias, code);
  }
  for (const { name, unified } of rows) add(name, unified);
  for (const { short_names, unified } of rows)
    for (const name of short_names) if (/[a-z]/.test(name)) add(name, unified); // "+1" is a thumb, the icon "1" is a digit
  return codes;
}
