/** Chooses held-out images by name only, so that adding images moves none between the splits. */

import { createHash } from "node:crypto";
import { UserError } from "../core/errors.ts";

/** The share to hold out of data without a held-out part of their own. */
export interface HeldOutShare {
  /** Above 0, below 1. */
  fraction: number;
  /** Images whose names have the same first capture group (or the same match) stay together. */
  group?: RegExp;
}

/** For each name, whether it is held out: about the requested fraction, but always some and never all. */
export function chooseHeldOut(names: readonly string[], { fraction, group }: HeldOutShare): boolean[] {
  const groups = group ? groupsOf(names, group) : names;
  const places = new Map(groups.map((name) => [name, 0]));
  if (places.size < 2)
    throw new UserError(
      group
        ? {
            subject: { setting: "group" },
            problem: `it puts all ${names.length} images into one group, "${groups[0]}", so nothing can be held out`,
            hint: "use a pattern that makes at least 2 groups",
          }
        : {
            problem: `nothing can be held out: ${names.length === 1 ? "there is only one image" : "all images are the same"}, "${names[0]}"`,
            hint: "at least 2 are needed",
          },
    );
  for (const name of places.keys()) places.set(name, placeOf(name));
  const sorted = [...places.values()].sort((a, b) => a - b);
  // If chance selects none or all, hold out the first, or all except the last.
  const limit = Math.min(Math.max(fraction, sorted[0] + Number.EPSILON), sorted.at(-1)!);
  return groups.map((name) => places.get(name)! < limit);
}

/** Uniform in [0, 1), computed from the name. */
const placeOf = (name: string): number => createHash("sha256").update(name).digest().readUIntBE(0, 6) / 2 ** 48;

function groupsOf(names: readonly string[], pattern: RegExp): string[] {
  let matched = false;
  const groups = names.map((name) => {
    const match = pattern.exec(name);
    matched ||= match !== null;
    // A name without a match forms a group of its own.
    return match?.[1] ?? match?.[0] ?? name;
  });
  if (matched) return groups;
  throw new UserError({
    subject: { setting: "group" },
    problem: `${pattern.source} matches no image's name`,
    hint: `the names look like ${names.slice(0, 2).join(" and ")}`,
  });
}
