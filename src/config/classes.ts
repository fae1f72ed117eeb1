/** Finds classes by number or by any of their names. Knows nothing of models. */

import { didYouMean, UserError } from "../core/errors.ts";

/** "heart,3" as labels: a class by its number, by its whole name, or by one of several that are parted by ", "; `option` gave it. */
export function parseClasses(text: string, classes: readonly string[], { option = "--class" } = {}): number[] {
  const parts = text.split(",").map((part) => part.trim());
  const byName = namedClasses(classes);
  const labels: number[] = [];
  for (let at = 0; at < parts.length;) {
    // A whole name may have commas of its own: as many parts as make one.
    let count = Math.min(byName.longest, parts.length - at);
    while (count > 1 && !byName.whole.has(keyOf(parts.slice(at, at + count)))) count--;
    labels.push(labelOf(parts.slice(at, at + count).join(", "), { classes, byName, option }));
    at += count;
  }
  return labels;
}

const keyOf = (names: readonly string[]): string => names.join(", ").toLowerCase();

interface NamedClasses {
  whole: Map<string, number>;
  /** The classes whose first name, or any of whose names, this is. */
  first: Map<string, number[]>;
  any: Map<string, number[]>;
  /** The most names that one class has. */
  longest: number;
}

function namedClasses(classes: readonly string[]): NamedClasses {
  const found: NamedClasses = { whole: new Map(), first: new Map(), any: new Map(), longest: 1 };
  const add = (map: Map<string, number[]>, name: string, label: number) =>
    map.set(name, [...(map.get(name) ?? []), label]);
  classes.forEach((text, label) => {
    const names = text.split(",").map((name) => name.trim().toLowerCase());
    if (!found.whole.has(keyOf(names))) found.whole.set(keyOf(names), label);
    found.longest = Math.max(found.longest, names.length);
    add(found.first, names[0], label);
    for (const name of new Set(names)) add(found.any, name, label);
  });
  return found;
}

function labelOf(
  name: string,
  {
    classes,
    byName: { whole, first, any },
    option,
  }: { classes: readonly string[]; byName: NamedClasses; option: string },
): number {
  const key = name.toLowerCase();
  const exact = whole.get(key);
  if (exact !== undefined) return exact;
  const candidates = first.get(key)?.length === 1 ? first.get(key)! : (any.get(key) ?? []);
  if (candidates.length === 1) return candidates[0];
  if (candidates.length > 1)
    throw new UserError(
      `${option}: "${name}" is a name of ${candidates.length} classes, ${candidates.map((label) => `${label} (${classes[label]})`).join(" and ")}; give the number or another of its names`,
    );
  const number = name === "" ? Number.NaN : Number(name);
  if (Number.isInteger(number) && number >= 0 && number < classes.length) return number;
  const known =
    classes.length > 30 ? `${classes.slice(0, 30).join(", ")} … (${classes.length} in all)` : classes.join(", ");
  const near = Number.isNaN(number) && name !== "" ? didYouMean(name, [...classes, ...any.keys()]) : "";
  throw new UserError(
    `${option}: the model has no class "${name}"${near || `; it has ${known}, or numbers from 0 to ${classes.length - 1}`}`,
  );
}
