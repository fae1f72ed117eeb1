/** The emoji classes, their groups, and the held-out emoji. Works on code points; knows nothing of pictures. */

/** A class of emoji: one or more of CLDR's subgroups, plus single emoji that look like them. */
export interface EmojiClass {
  name: string;
  /** The broader class it belongs to. */
  group: string;
  /** CLDR subgroups, as named in emoji-datasource. */
  subgroups?: readonly string[];
  /** Code points of emoji that CLDR files elsewhere, separated by spaces. */
  codes?: string;
  /** False if a mirrored picture would no longer show the class: writing, digits, meaningful directions. */
  flip?: false;
  /** False if the colour carries the meaning. */
  hue?: false;
}

/** In the order of the labels. */
export const emojiClassTable: readonly EmojiClass[] = [
  { name: "smiling face", group: "face", subgroups: ["face-smiling"] },
  { name: "loving face", group: "face", subgroups: ["face-affection"] },
  { name: "face with tongue", group: "face", subgroups: ["face-tongue"] },
  { name: "face with hand", group: "face", subgroups: ["face-hand"] },
  { name: "face with hat or glasses", group: "face", subgroups: ["face-hat", "face-glasses"] },
  { name: "neutral face", group: "face", subgroups: ["face-neutral-skeptical"] },
  { name: "sleepy face", group: "face", subgroups: ["face-sleepy"] },
  { name: "sick face", group: "face", subgroups: ["face-unwell"] },
  { name: "worried face", group: "face", subgroups: ["face-concerned"] },
  { name: "angry face", group: "face", subgroups: ["face-negative"] },
  { name: "monster or robot", group: "face", subgroups: ["face-costume"], codes: "1f480 2620" }, // and skulls

  // Cat faces and monkeys are drawn like the animals' own emoji, not like the yellow disc.
  { name: "cat face", group: "animal", subgroups: ["cat-face"], codes: "1f431" },
  { name: "mammal", group: "animal", subgroups: ["animal-mammal", "monkey-face"] },
  { name: "bird", group: "animal", subgroups: ["animal-bird"] },
  { name: "reptile or frog", group: "animal", subgroups: ["animal-reptile", "animal-amphibian"] },
  { name: "sea animal", group: "animal", subgroups: ["animal-marine"] },
  { name: "insect", group: "animal", subgroups: ["animal-bug"] },

  { name: "fruit", group: "food", subgroups: ["food-fruit"] },
  { name: "vegetable", group: "food", subgroups: ["food-vegetable"], codes: "1f360" }, // and the sweet potato
  { name: "cooked dish", group: "food", subgroups: ["food-prepared"], codes: "1f35d" }, // and spaghetti
  { name: "Asian dish", group: "food", subgroups: ["food-asian"] },
  { name: "dessert", group: "food", subgroups: ["food-sweet"] },
  { name: "drink", group: "food", subgroups: ["drink"] },

  { name: "portrait", group: "person", subgroups: ["person"] },
  { name: "gesturing person", group: "person", subgroups: ["person-gesture"] },
  { name: "worker", group: "person", subgroups: ["person-role"] },
  { name: "fantasy person", group: "person", subgroups: ["person-fantasy"] },
  { name: "active or resting person", group: "person", subgroups: ["person-activity", "person-resting"] },
  { name: "athlete", group: "person", subgroups: ["person-sport"] },
  { name: "family or couple", group: "person", subgroups: ["family"], codes: "1f46a" },
  { name: "silhouette", group: "person", subgroups: ["person-symbol"] },

  { name: "land vehicle", group: "vehicle", subgroups: ["transport-ground"] },
  { name: "boat", group: "vehicle", subgroups: ["transport-water"] },
  { name: "aircraft", group: "vehicle", subgroups: ["transport-air"] },

  // A flag's hoist side is on the left, and its colours identify it.
  { name: "country flag", group: "flag", subgroups: ["country-flag", "subdivision-flag"], flip: false, hue: false },
  { name: "other flag", group: "flag", subgroups: ["flag"], flip: false, hue: false },

  { name: "building", group: "place", subgroups: ["place-building"] },
  { name: "place of worship", group: "place", subgroups: ["place-religious"] },
  { name: "scenery", group: "place", subgroups: ["place-geographic", "place-other"] },
  { name: "map or globe", group: "place", subgroups: ["place-map"], flip: false },

  { name: "heart", group: "heart", subgroups: ["heart"], codes: "2665" }, // and the card suit

  { name: "pointing hand", group: "hand", subgroups: ["hand-single-finger"] },
  { name: "open hand", group: "hand", subgroups: ["hand-fingers-open"] },
  { name: "fist or thumb", group: "hand", subgroups: ["hand-fingers-closed"] },
  { name: "hand sign", group: "hand", subgroups: ["hand-fingers-partial", "hand-prop"] },
  { name: "pair of hands", group: "hand", subgroups: ["hands"] },

  { name: "flower", group: "plant", subgroups: ["plant-flower"] },
  { name: "tree or leaf", group: "plant", subgroups: ["plant-other"] },

  { name: "clock", group: "clock", subgroups: ["time"], flip: false },

  { name: "clothing", group: "clothing", subgroups: ["clothing"] },

  {
    name: "moon or star",
    group: "sky",
    codes:
      "1f30c 1f311 1f312 1f313 1f314 1f315 1f316 1f317 1f318 1f319 1f31a 1f31b 1f31c 1f31d 1f31e 1f31f 1f320 1fa90 2600 2604 2b50",
  },
  { name: "weather", group: "sky", subgroups: ["sky & weather"] },

  { name: "celebration", group: "object", subgroups: ["event"] },
  { name: "medal or trophy", group: "object", subgroups: ["award-medal"], flip: false },
  { name: "sports equipment", group: "object", subgroups: ["sport"], codes: "1f6f9 1f6fc" }, // and skates
  { name: "game or toy", group: "object", subgroups: ["game"], flip: false },
  { name: "art or craft", group: "object", subgroups: ["arts & crafts"] },
  { name: "musical instrument", group: "object", subgroups: ["musical-instrument"] },
  { name: "music or sound", group: "object", subgroups: ["music", "sound"], flip: false },
  { name: "phone or computer", group: "object", subgroups: ["phone", "computer"] },
  { name: "lamp or camera", group: "object", subgroups: ["light & video"] },
  { name: "book or paper", group: "object", subgroups: ["book-paper"], flip: false },
  { name: "money", group: "object", subgroups: ["money", "currency"], flip: false },
  { name: "mail", group: "object", subgroups: ["mail"], codes: "1f48c", flip: false }, // and the love letter
  { name: "pen or brush", group: "object", subgroups: ["writing"] },
  { name: "office item", group: "object", subgroups: ["office"], flip: false },
  { name: "lock or key", group: "object", subgroups: ["lock"] },
  { name: "tool or weapon", group: "object", subgroups: ["tool"] },
  { name: "science or medicine", group: "object", subgroups: ["science", "medical"], codes: "1f321" },
  {
    name: "household item",
    group: "object",
    subgroups: ["household", "dishware", "hotel"],
    codes: "231b 23f3 1f488", // hourglasses, barber pole
  },
  {
    name: "accessory",
    group: "object",
    // Lipstick, ring, gem, beads, bags, fan, comb; umbrellas.
    codes: "1f484 1f48d 1f48e 1f4ff 1f6cd 1faad 1faae 1f302 2602 2614 26f1",
  },
  {
    name: "traffic object",
    group: "object",
    // Lights, barriers, road and track, stop and fuel, wheel and seat, ring buoy and anchor.
    codes: "1f6a5 1f6a6 1f6a7 1f6a8 1f6d1 1f6de 1f6e2 1f6e3 1f6e4 1f68f 26fd 1f4ba 1f6df 2693",
    flip: false,
  },
  {
    name: "natural object",
    group: "object",
    codes: "1f43e 1f578 1f9a0 1fab6 1fabd 1f41a 1f9f1 1faa8 1fab5", // prints, web, microbe, feather, wing, shell, brick, rock, wood
  },
  { name: "body part", group: "object", subgroups: ["body-parts"], codes: "1f463 1fac6" }, // and what feet and fingers print
  { name: "comic mark", group: "object", subgroups: ["emotion"], flip: false },
  { name: "other object", group: "object", subgroups: ["other-object"], codes: "1f9ed" }, // and the compass
  { name: "sign", group: "object", subgroups: ["transport-sign", "warning"], flip: false },
  { name: "arrow", group: "object", subgroups: ["arrow"], flip: false },
  { name: "religious symbol", group: "object", subgroups: ["religion"], flip: false },
  { name: "zodiac sign", group: "object", subgroups: ["zodiac"], flip: false },
  { name: "media button", group: "object", subgroups: ["av-symbol"], flip: false },
  { name: "number key", group: "object", subgroups: ["keycap"], flip: false },
  { name: "letter button", group: "object", subgroups: ["alphanum"], flip: false },
  { name: "math or punctuation mark", group: "object", subgroups: ["math", "punctuation"], flip: false },
  { name: "shape", group: "object", subgroups: ["geometric"] },
  {
    name: "other symbol",
    group: "object",
    subgroups: ["other-symbol", "gender"],
    codes: "2668 1f310", // hot springs, the globe that means the web
    flip: false,
  },
];

export const emojiClasses: readonly string[] = emojiClassTable.map(({ name }) => name);

/** The classes of each group, except groups that consist of one class of the same name. */
export const emojiGroups: Readonly<Record<string, string[]>> = Object.fromEntries(
  [...new Set(emojiClassTable.map(({ group }) => group))]
    .map((group) => [group, emojiClassTable.filter((row) => row.group === group).map(({ name }) => name)] as const)
    .filter(([group, names]) => names.length > 1 || names[0] !== group),
);

/** The used part of a row of emoji-datasource's `emoji.json`. */
export interface EmojiRow {
  name: string;
  short_names: string[];
  /** Code points in upper-case hexadecimal, joined by `-`. */
  unified: string;
  category: string;
  subcategory: string;
}

/** Code points in lower case without FE0F (which only requests the coloured form), such as `2764-200d-1f525`. */
export const normalCodePoints = (codePoints: string): string =>
  codePoints
    .toLowerCase()
    .split("-")
    .filter((point) => point !== "fe0f")
    .join("-");

const hasSkinTone = (code: string) => /1f3f[b-f]/.test(code);

const byCode = new Map(emojiClassTable.flatMap((row) => (row.codes?.split(" ") ?? []).map((code) => [code, row])));
const bySubgroup = new Map(emojiClassTable.flatMap((row) => (row.subgroups ?? []).map((name) => [name, row])));

/** The class of each known emoji by its normalised code points, without skin tone variants. */
export function classOfEmoji(rows: readonly EmojiRow[]): Map<string, EmojiClass> {
  const classes = new Map<string, EmojiClass>();
  for (const { unified, category, subcategory } of rows) {
    const code = normalCodePoints(unified);
    if (hasSkinTone(code) || category === "Component") continue;
    const found = byCode.get(code) ?? bySubgroup.get(subcategory);
    if (!found) throw new Error(`emoji ${code}: the subgroup "${subcategory}" belongs to no class`);
    classes.set(code, found);
  }
  return classes;
}

// Territories that use another state's flag and therefore have the same picture.
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
 * Emoji with the same key look alike and stay in the same split: people who differ only in gender, age or facing
 * direction, and territories that share a flag.
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
 * The held-out code points: in each group, the sixteenth (rounded up) of the keys above with the smallest hashes, and
 * for a class with none among them, its own smallest. This depends only on the list of known emoji, so the split is the
 * same for any choice of sets and any size.
 */
export function heldOutEmoji(classes: ReadonlyMap<string, EmojiClass>): Set<string> {
  const classOfKey = new Map<string, EmojiClass>();
  for (const [code, row] of classes) {
    const key = drawnAlikeKey(code);
    if (!classOfKey.has(key)) classOfKey.set(key, row);
  }
  const byHash = [...classOfKey].sort(([a], [b]) => fnv1a(a) - fnv1a(b) || (a < b ? -1 : 1));
  const heldOut = new Map<string, EmojiClass>();
  for (const group of new Set(emojiClassTable.map((row) => row.group))) {
    const ofGroup = byHash.filter(([, row]) => row.group === group);
    for (const [key, row] of ofGroup.slice(0, Math.ceil(ofGroup.length / 16))) heldOut.set(key, row);
  }
  for (const [key, row] of byHash) if (![...heldOut.values()].includes(row)) heldOut.set(key, row);
  return new Set([...classes.keys()].filter((code) => heldOut.has(drawnAlikeKey(code))));
}

/** 32-bit FNV-1a with murmur3's finaliser: without it, short keys that differ in one letter would stay in order. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
