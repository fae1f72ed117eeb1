/** The vendors of emoji pictures, with their packages and licences. Reads no pictures. */

import { didYouMean, UserError } from "../core/errors.ts";

interface EmojiSource {
  /** The npm package that holds the pictures. */
  package: string;
  title: string;
  /** SPDX identifier, as stated in the package's info.json. */
  license: string;
  /** A share-alike licence would extend to anything shipped, so such sets are used only on request. */
  shareAlike?: true;
}

const iconify = (name: string, title: string, license: string): EmojiSource => ({
  package: `@iconify-json/${name}`,
  title,
  license,
});

/**
 * Sets of vector icons, then the flags, which exist only as 64-pixel PNGs. Of identical pictures the first set's is
 * kept.
 */
export const emojiSources = {
  noto: iconify("noto", "Noto Emoji", "Apache-2.0"),
  "noto-v1": iconify("noto-v1", "Noto Emoji, first version", "Apache-2.0"),
  "fluent-emoji": iconify("fluent-emoji", "Fluent Emoji", "MIT"),
  "fluent-emoji-flat": iconify("fluent-emoji-flat", "Fluent Emoji Flat", "MIT"),
  fxemoji: iconify("fxemoji", "Firefox OS Emoji", "Apache-2.0"),
  twemoji: iconify("twemoji", "Twemoji", "CC-BY-4.0"),
  emojione: iconify("emojione", "EmojiOne 2", "CC-BY-4.0"),
  openmoji: { ...iconify("openmoji", "OpenMoji", "CC-BY-SA-4.0"), shareAlike: true },
  "emojione-v1": { ...iconify("emojione-v1", "EmojiOne, first version", "CC-BY-SA-4.0"), shareAlike: true },
  flags: { package: "emoji-datasource-google", title: "Noto Emoji's flags", license: "Apache-2.0" },
} as const satisfies Record<string, EmojiSource>;

export type EmojiSet = keyof typeof emojiSources;
export const emojiSets = Object.keys(emojiSources) as EmojiSet[];

const sourceOf = (set: EmojiSet): EmojiSource => emojiSources[set];

/** The default sets: all except the share-alike ones. */
export const defaultSets: readonly EmojiSet[] = emojiSets.filter((set) => !sourceOf(set).shareAlike);

/** "noto (Apache-2.0), …" for help and errors. */
export const setsWithLicences = (sets: readonly EmojiSet[] = emojiSets): string =>
  sets.map((set) => `${set} (${emojiSources[set].license})`).join(", ");

/**
 * Parses "noto,openmoji" to sets in the order of the table, each once. Throws a UserError about the setting `sets` for
 * an unknown name.
 */
export function parseSets(text: string): EmojiSet[] {
  const names = text.split(",").map((name) => name.trim());
  for (const name of names)
    if (!Object.hasOwn(emojiSources, name))
      throw new UserError({
        subject: { setting: "sets" },
        problem: `there is no set "${name}"${didYouMean(name, emojiSets)}`,
        hint: `the sets are ${setsWithLicences()}`,
      });
  return emojiSets.filter((set) => names.includes(set));
}
