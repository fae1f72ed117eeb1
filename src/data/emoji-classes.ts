/** The fourteen classes of emoji, and which emoji are held out. Works on code points; knows nothing of pictures. */

export const emojiClasses = [
  "face",
  "animal",
  "food",
  "person",
  "vehicle",
  "flag",
  "place",
  "heart",
  "hand",
  "plant",
  "clock",
  "clothing",
  "sky",
  "object",
];

/** The part of a row of emoji-datasource's `emoji.json` that is read here. */
export interface EmojiRow {
  name: string;
  short_names: string[];
  /** Code points in upper-case hexadecimal, joined by `-`. */
  unified: string;
  category: string;
  subcategory: string;
}

/** Code points in lower case without FE0F (which only asks for the coloured form), such as `2764-200d-1f525`. */
export const normalCodePoints = (codePoints: string): string =>
  codePoints
    .toLowerCase()
    .split("-")
    .filter((point) => point !== "fe0f")
    .join("-");

const hasSkinTone = (code: string) => /1f3f[b-f]/.test(code);

// Emoji whose subcategory says something other than what is drawn.
const exceptions: Record<string, string> = {
  heart: "2665",
  sky: "1f30c",
  clock: "231a 23f0 23f1 23f2 1f570",
  object: [
    "1f48c", // love letter
    "231b 23f3", // hourglasses
    "1f43e 1f578 1f9a0 1fab6 1fabd 1f41a", // paw prints, web, microbe, feather, wing, shell
    "1f463 1fac6", // footprints, fingerprint
    "1f6a5 1f6a6 1f6a7 1f6a8 1f6d1 1f6de 1f6e2 1f6e3 1f6e4 1f68f 26fd 1f4ba 1f6df 2693 1f6f9 1f6fc", // signs, parts, skates
    "1f310 1f9ed 1f488 2668 1f9f1 1faa8 1fab5", // web globe, compass, barber pole, springs, brick, rock, wood
    "1f484 1f48d 1f48e 1f4ff 1f6cd 1faad 1faae", // lipstick, ring, gem, beads, bags, fan, comb
    "1f321 1f302 2602 2614 26f1", // thermometer, umbrellas
  ].join(" "),
};
const exceptionOf = new Map(
  Object.entries(exceptions).flatMap(([name, codes]) => codes.split(" ").map((code) => [code, name] as const)),
);

const rules: [name: string, applies: (row: EmojiRow) => boolean][] = [
  ["flag", ({ category }) => category === "Flags"],
  ["face", ({ subcategory }) => subcategory.startsWith("face-")],
  // Cat faces and monkeys are drawn like the animals' own emoji, not like the yellow disc.
  ["animal", ({ subcategory }) => /^(animal-.*|cat-face|monkey-face)$/.test(subcategory)],
  ["heart", ({ subcategory }) => subcategory === "heart"],
  ["plant", ({ subcategory }) => subcategory.startsWith("plant-")],
  ["food", ({ subcategory }) => subcategory.startsWith("food-") || subcategory === "drink"],
  ["person", ({ subcategory }) => /^(person.*|family)$/.test(subcategory)],
  ["hand", ({ subcategory }) => /^hand(s|-.*)$/.test(subcategory)],
  ["vehicle", ({ subcategory }) => /^transport-(ground|air|water)$/.test(subcategory)],
  ["place", ({ subcategory }) => subcategory.startsWith("place-")],
  ["clock", ({ subcategory }) => subcategory === "time"],
  ["sky", ({ subcategory }) => subcategory === "sky & weather"],
  ["clothing", ({ subcategory }) => subcategory === "clothing"],
  ["object", () => true],
];

/** The class of each known emoji by its normalised code points, without the variants of skin tone. */
export function classOfEmoji(rows: readonly EmojiRow[]): Map<string, string> {
  const classes = new Map<string, string>();
  for (const row of rows) {
    const code = normalCodePoints(row.unified);
    if (hasSkinTone(code) || row.category === "Component") continue;
    classes.set(code, exceptionOf.get(code) ?? rules.find(([, applies]) => applies(row))![0]);
  }
  return classes;
}

// Territories that fly the flag of another state, and so have the same picture.
const sameFlag: Record<string, string> = {
  BV: "NO",
  SJ: "NO",
  CP: "FR",
  MF: "FR",
  HM: "AU",
  UM: "US",
  EA: "ES",
  DG: "IO",
};

/**
 * Emoji with the same key are drawn alike and stay in the same split: people who differ only in gender, age or the
 * direction they face, and territories that share a flag.
 */
export function drawnAlikeKey(code: string): string {
  const points = code.split("-").map((point) => parseInt(point, 16));
  if (points.length === 2 && points.every((point) => point >= 0x1f1e6 && point <= 0x1f1ff)) {
    const letters = points.map((point) => String.fromCharCode(65 + point - 0x1f1e6)).join("");
    return sameFlag[letters] ?? letters;
  }
  return code
    .split("-200d-")
    .filter((part) => !/^(2640|2642|27a1)$/.test(part)) // female, male, facing right
    .map((part) => part.replace(/^1f46[89]$/, "1f9d1").replace(/^1f46[67]$/, "1f9d2"))
    .join("-200d-");
}

/**
 * The code points held out: of each class, the sixteenth (rounded up) of the keys above whose hash is smallest. It
 * depends on the list of known emoji alone, so any choice of sets and any size gives the same split.
 */
export function heldOutEmoji(classes: ReadonlyMap<string, string>): Set<string> {
  const keysOf = new Map<string, Set<string>>();
  const classOfKey = new Map<string, string>();
  for (const [code, name] of classes) {
    const key = drawnAlikeKey(code);
    if (classOfKey.has(key)) continue;
    classOfKey.set(key, name);
    keysOf.set(name, (keysOf.get(name) ?? new Set()).add(key));
  }
  const heldOutKeys = new Set<string>();
  for (const keys of keysOf.values()) {
    const byHash = [...keys].sort((a, b) => fnv1a(a) - fnv1a(b) || (a < b ? -1 : 1));
    for (const key of byHash.slice(0, Math.ceil(keys.size / 16))) heldOutKeys.add(key);
  }
  return new Set([...classes.keys()].filter((code) => heldOutKeys.has(drawnAlikeKey(code))));
}

/** FNV-1a, 32 bits, with murmur3's finish: the plain hash keeps short keys that differ in one letter in order. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
