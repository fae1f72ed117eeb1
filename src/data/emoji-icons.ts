/** Finds the emoji pictures in the installed packages and which emoji each one shows. Knows nothing of pixels. */

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { UserError } from "../core/errors.ts";
import { classOfEmoji, normalCodePoints, type EmojiRow } from "./emoji-classes.ts";

/** Sets of vector icons, then the flags, which only exist as 64-pixel PNG. */
export const emojiSets = ["noto", "noto-v1", "fluent-emoji", "fluent-emoji-flat", "fxemoji", "flags"] as const;
export type EmojiSet = (typeof emojiSets)[number];

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
const packageOf = (set: EmojiSet) => (set === "flags" ? "emoji-datasource-google" : `@iconify-json/${set}`);

/** The folder of an installed package; a UserError when it is missing. */
function packageFolder(name: string): string {
  try {
    return join(require.resolve(`${name}/package.json`), "..");
  } catch {
    throw new UserError(
      `the emoji data set is made from the package ${name}, which is not installed; run "npm install"`,
    );
  }
}

/** `package@version` of everything that the data set of `sets` is made from. */
export function emojiPackages(sets: readonly EmojiSet[]): string[] {
  // The two sets with a table of code points name the icons of the others.
  const names = ["emoji-datasource", packageOf("noto"), packageOf("fluent-emoji-flat"), ...sets.map(packageOf)];
  return [...new Set(names)].map((name) => {
    const { version } = readJson<{ version: string }>(join(packageFolder(name), "package.json"));
    return `${name}@${version}`;
  });
}

/** The rows of emoji-datasource's list of all emoji. */
export const emojiRows = (): EmojiRow[] => readJson(join(packageFolder("emoji-datasource"), "emoji.json"));

/**
 * Every icon of the sets that shows a known emoji without a skin tone, set after set and sorted by code points within
 * a set; at most one icon an emoji and set.
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
  known: ReadonlyMap<string, string>,
): EmojiIcon[] {
  const { width: commonWidth = 16, height: commonHeight = 16, icons } = iconSet(set);
  const found = new Map<string, EmojiIcon>();
  for (const [iconName, { body, width = commonWidth, height = commonHeight }] of Object.entries(icons)) {
    const code = codes.get(letters(iconName));
    const name = `${set}/${code}`;
    if (!code || !known.has(code) || found.has(code) || misleading.has(name)) continue;
    found.set(code, { name, code, picture: { svgBody: body, width, height } });
  }
  return [...found.values()];
}

const iconSet = (set: EmojiSet) => readJson<IconifySet>(join(packageFolder(packageOf(set)), "icons.json"));

const letters = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

// fxemoji's own names for hearts, the smallest class.
const otherNames: Record<string, string> = {
  "2hearts": "1f495",
  heartarrow: "1f498",
  heartgreen: "1f49a",
  heartpurple: "1f49c",
  heartyellow: "1f49b",
  heartribbon: "1f49d",
};

// Icons of fxemoji that share a name with an emoji but show something else (`wave` is water, `bow` a ribbon, `up` a
// hand, `keyboard` a piano, `shootingstar` a paper plane), and one that is a black square.
const misleading = new Set(["1f44b", "1f647", "1f199", "2328", "1f320", "1f68b"].map((code) => `fxemoji/${code}`));

/** From an icon's name (its letters and digits) to code points; the first source that knows a name wins. */
function codesByName(rows: readonly EmojiRow[]): Map<string, string> {
  const codes = new Map<string, string>(Object.entries(otherNames));
  const add = (name: string, code: string) => {
    if (!codes.has(letters(name))) codes.set(letters(name), normalCodePoints(code));
  };
  for (const set of ["noto", "fluent-emoji-flat"] as const) {
    const chars = readJson<Record<string, string>>(join(packageFolder(packageOf(set)), "chars.json"));
    for (const [code, name] of Object.entries(chars)) add(name, code);
  }
  for (const [alias, { parent }] of Object.entries(iconSet("noto").aliases ?? {})) {
    const code = codes.get(letters(parent));
    if (code) add(alias, code);
  }
  for (const { name, unified } of rows) add(name, unified);
  for (const { short_names, unified } of rows)
    for (const name of short_names) if (/[a-z]/.test(name)) add(name, unified); // "+1" is a thumb, the icon "1" is a digit
  return codes;
}
