/** Finds classes by number, by any of their names, or by group. Knows nothing of models. */

import { didYouMean, UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";

/** The classes of a model or data set, and named groups of them. A `ModelConfig` is one. */
export interface ClassNames {
  classes: readonly string[];
  groups?: Readonly<Record<string, readonly string[]>>;
}

/**
 * Parses class names such as "heart,3,food". Returns the labels of each name: one for a class, several for a group. A
 * class can be given by its number, its full name, or any one of its names separated by ", ". Throws a UserError about
 * the setting `class`.
 */
export function parseClasses(text: string, names: ClassNames): number[][] {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.includes(""))
    throw new UserError({
      subject: { setting: "class" },
      expected: `names of classes, separated by commas, such as ${exampleOf(names)}`,
      got: text.trim() === "" ? "an empty string" : `an empty name in "${shown(text)}"`,
    });
  const byName = namedClasses(names);
  const choices: number[][] = [];
  for (let at = 0; at < parts.length;) {
    // A full name may itself contain commas, so match as many parts as possible.
    let count = Math.min(byName.longest, parts.length - at);
    while (count > 1 && !byName.whole.has(keyOf(parts.slice(at, at + count)))) count--;
    choices.push(labelsOf(parts.slice(at, at + count).join(", "), { names, byName }));
    at += count;
  }
  return choices;
}

/** Every group with its labels, and every class that is in no group on its own, in the order of the classes. */
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

/** The default choices if no class is named: every group, and every class that is in no group. */
export const allClasses = (names: ClassNames): number[][] => groupedClasses(names).map(({ labels }) => labels);

/** The labels of `count` images, which cycle through the choices and, within a group, through its classes. */
export const labelsInTurn = (choices: readonly (readonly number[])[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => {
    const choice = choices[i % choices.length];
    return choice[Math.floor(i / choices.length) % choice.length];
  });

/**
 * Describes the first fault of the groups, if any. A group must list known classes, each once, and must not share the
 * name of a class.
 */
export function groupMistake({ classes, groups = {} }: ClassNames): string | undefined {
  const known = new Set(classes);
  const small = new Set(classes.map((name) => name.toLowerCase()));
  for (const [group, members] of Object.entries(groups)) {
    const where = `the group "${group}"`;
    if (small.has(group.toLowerCase())) return `${where} has the name of a class; rename one of them`;
    const unknown = members.find((name) => !known.has(name));
    if (unknown !== undefined) return `${where} contains the unknown class "${unknown}"${didYouMean(unknown, classes)}`;
    const seen = new Set<string>();
    const twice = members.find((name) => seen.size === seen.add(name).size);
    if (twice !== undefined) return `${where} lists the class "${twice}" twice`;
  }
  return undefined;
}

const keyOf = (names: readonly string[]): string => names.join(", ").toLowerCase();

interface NamedClasses {
  whole: Map<string, number>;
  /** Labels of the classes by their first name, and by any of their names. */
  first: Map<string, number[]>;
  any: Map<string, number[]>;
  groups: Map<string, number[]>;
  /** The largest number of names that one class has. */
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
  const identical = classes.indexOf(name); // "a" and "A" may be different classes
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
      hint: "use its number or another of its names",
    });
  const number = name === "" ? Number.NaN : Number(name);
  if (Number.isInteger(number) && number >= 0 && number < classes.length) return [number];
  const near =
    Number.isNaN(number) && name !== ""
      ? nearest(name, [...Object.keys(names.groups ?? {}), ...classes, ...any.keys()])
      : "";
  throw new UserError({
    subject: { setting: "class" },
    problem: `the model has no class "${shown(name)}"${near || `; it has ${classList(names)}, or numbers from 0 to ${classes.length - 1}`}`,
  });
}

const same = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();

/** The first two classes by name. */
const exampleOf = ({ classes }: ClassNames): string =>
  classes
    .slice(0, 2)
    .map((name) => name.split(",")[0])
    .join();

/** Suggests names that contain the word, or otherwise the one with the most similar spelling. */
function nearest(word: string, names: readonly string[]): string {
  if (names.every((name) => name.length < word.length)) return didYouMean(word, names);
  const within = new RegExp(`(^|[^a-z])${word.toLowerCase().replaceAll(/[^\w ]/g, "\\$&")}s?([^a-z]|$)`);
  const containing = names.filter((name) => within.test(name.toLowerCase()));
  const found = containing.filter((name, i) => containing.findIndex((other) => same(other, name)) === i).slice(0, 4);
  return found.length > 0
    ? `; did you mean ${found.map((name) => `"${name}"`).join(" or ")}?`
    : didYouMean(word, names);
}

/** Lists all classes if there are few, otherwise the groups, otherwise the first classes. */
function classList({ classes, groups = {} }: ClassNames): string {
  const grouped = new Set(Object.values(groups).flat());
  if (classes.length > 30 && grouped.size > 0) {
    const names = [...Object.keys(groups), ...classes.filter((name) => !grouped.has(name)).slice(0, 10)];
    return `${names.join(", ")} (groups and classes; ${classes.length} classes in all)`;
  }
  return classes.length > 30 ? `${classes.slice(0, 30).join(", ")} … (${classes.length} in all)` : classes.join(", ");
}
