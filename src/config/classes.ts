/** Finds classes by number, by any of their names, or by a group that they belong to. Knows nothing of models. */

import { didYouMean, UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";

/** The classes of a model or data set, and broader names for several of them each. A `ModelConfig` is one. */
export interface ClassNames {
  classes: readonly string[];
  groups?: Readonly<Record<string, readonly string[]>>;
}

/**
 * "heart,3,food": for each name the labels it stands for, one for a class and several for a group. A class is named by its
 * number, by its whole name, or by one of several that are separated by ", ". A UserError about the setting `class`.
 */
export function parseClasses(text: string, names: ClassNames): number[][] {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.includes(""))
    throw new UserError({
      subject: { setting: "class" },
      expected: `names of classes, comma-separated, such as ${exampleOf(names)}`,
      got: text.trim() === "" ? "an empty text" : `nothing between two commas or at an end of "${shown(text)}"`,
    });
  const byName = namedClasses(names);
  const choices: number[][] = [];
  for (let at = 0; at < parts.length;) {
    // A whole name may have commas of its own: as many parts as make one.
    let count = Math.min(byName.longest, parts.length - at);
    while (count > 1 && !byName.whole.has(keyOf(parts.slice(at, at + count)))) count--;
    choices.push(labelsOf(parts.slice(at, at + count).join(", "), { names, byName }));
    at += count;
  }
  return choices;
}

/** Every group with its labels, and every class that is in none by itself, in the order of the classes. */
export function groupedClasses({ classes, groups = {} }: ClassNames): { group?: string; labels: number[] }[] {
  const groupOf = new Map<string, string>();
  for (const [group, members] of Object.entries(groups).reverse()) for (const name of members) groupOf.set(name, group);
  const found = new Map<string, { group?: string; labels: number[] }>();
  classes.forEach((name, label) => {
    const group = groupOf.get(name);
    const key = group === undefined ? `class ${label}` : `group ${group}`;
    const known = found.get(key) ?? { group, labels: [] };
    known.labels.push(label);
    found.set(key, known);
  });
  return [...found.values()];
}

/** What is taken where no class is named: the groups in turn, with the classes that are in none. */
export const allClasses = (names: ClassNames): number[][] => groupedClasses(names).map(({ labels }) => labels);

/** The labels of `count` images, which take the choices in turn, and each time the next class of a group. */
export const labelsInTurn = (choices: readonly (readonly number[])[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => {
    const choice = choices[i % choices.length];
    return choice[Math.floor(i / choices.length) % choice.length];
  });

/** What is wrong with groups, if anything: each names known classes, each class once, and no group is called like a class. */
export function groupMistake({ classes, groups = {} }: ClassNames): string | undefined {
  const known = new Set(classes);
  const small = new Set(classes.map((name) => name.toLowerCase()));
  for (const [group, members] of Object.entries(groups)) {
    const where = `the group "${group}"`;
    if (small.has(group.toLowerCase())) return `${where} has the name of a class; rename one of them`;
    const unknown = members.find((name) => !known.has(name));
    if (unknown !== undefined)
      return `${where} names the class "${unknown}", which there is not${didYouMean(unknown, classes)}`;
    const seen = new Set<string>();
    const twice = members.find((name) => seen.size === seen.add(name).size);
    if (twice !== undefined) return `${where} names the class "${twice}" twice`;
  }
  return undefined;
}

const keyOf = (names: readonly string[]): string => names.join(", ").toLowerCase();

interface NamedClasses {
  whole: Map<string, number>;
  /** The classes whose first name, or any of whose names, this is. */
  first: Map<string, number[]>;
  any: Map<string, number[]>;
  groups: Map<string, number[]>;
  /** The most names that one class has. */
  longest: number;
}

function namedClasses({ classes, groups = {} }: ClassNames): NamedClasses {
  const found: NamedClasses = { whole: new Map(), first: new Map(), any: new Map(), groups: new Map(), longest: 1 };
  const add = (map: Map<string, number[]>, name: string, label: number) =>
    map.set(name, [...(map.get(name) ?? []), label]);
  classes.forEach((text, label) => {
    const names = text.split(",").map((name) => name.trim().toLowerCase());
    if (!found.whole.has(keyOf(names))) found.whole.set(keyOf(names), label);
    found.longest = Math.max(found.longest, names.length);
    add(found.first, names[0], label);
    for (const name of new Set(names)) add(found.any, name, label);
  });
  for (const [group, members] of Object.entries(groups))
    found.groups.set(
      group.trim().toLowerCase(),
      members.map((name) => classes.indexOf(name)),
    );
  return found;
}

function labelsOf(name: string, { names, byName }: { names: ClassNames; byName: NamedClasses }): number[] {
  const { classes } = names;
  const { whole, first, any, groups } = byName;
  const key = name.toLowerCase();
  const identical = classes.indexOf(name); // "a" and "A" may be two classes
  const exact = identical >= 0 ? identical : whole.get(key);
  if (exact !== undefined) return [exact];
  const group = groups.get(key);
  if (group) return group;
  const candidates = first.get(key)?.length === 1 ? first.get(key)! : (any.get(key) ?? []);
  if (candidates.length === 1) return candidates;
  if (candidates.length > 1)
    throw new UserError({
      subject: { setting: "class" },
      problem: `"${name}" is a name of ${candidates.length} classes, ${candidates.map((label) => `${label} (${classes[label]})`).join(" and ")}`,
      hint: "give the number or another of its names",
    });
  const number = name === "" ? Number.NaN : Number(name);
  if (Number.isInteger(number) && number >= 0 && number < classes.length) return [number];
  const near =
    Number.isNaN(number) && name !== ""
      ? nearest(name, [...Object.keys(names.groups ?? {}), ...classes, ...any.keys()])
      : "";
  throw new UserError({
    subject: { setting: "class" },
    problem: `the model has no class "${shown(name)}"${near || `; it has ${told(names)}, or numbers from 0 to ${classes.length - 1}`}`,
  });
}

const same = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();

/** The first two classes by name. */
const exampleOf = ({ classes }: ClassNames): string =>
  classes
    .slice(0, 2)
    .map((name) => name.split(",")[0])
    .join();

/** Names that contain the word, or else the one that is spelled most like it. */
function nearest(word: string, names: readonly string[]): string {
  if (names.every((name) => name.length < word.length)) return didYouMean(word, names);
  const within = new RegExp(`(^|[^a-z])${word.toLowerCase().replaceAll(/[^\w ]/g, "\\$&")}s?([^a-z]|$)`);
  const containing = names.filter((name) => within.test(name.toLowerCase()));
  const found = containing.filter((name, i) => containing.findIndex((other) => same(other, name)) === i).slice(0, 4);
  return found.length > 0
    ? `; did you mean ${found.map((name) => `"${name}"`).join(" or ")}?`
    : didYouMean(word, names);
}

/** All classes where they are few, else the groups, else the first classes. */
function told({ classes, groups = {} }: ClassNames): string {
  const grouped = new Set(Object.values(groups).flat());
  if (classes.length > 30 && grouped.size > 0) {
    const names = [...Object.keys(groups), ...classes.filter((name) => !grouped.has(name)).slice(0, 10)];
    return `${names.join(", ")} (groups and classes; ${classes.length} classes in all)`;
  }
  return classes.length > 30 ? `${classes.slice(0, 30).join(", ")} … (${classes.length} in all)` : classes.join(", ");
}
