/** What the tables of measures say of sets of images: their size, and what was left out. */

import type { Skipped } from "../data/dataset.ts";

/** The size in which sets are compared, and what was done to bring images to it. */
export function sizeLines(size: number, sets: readonly { name: string; resized?: number }[]): string[] {
  const changed = sets.filter(({ resized = 0 }) => resized > 0);
  return [
    `  images of ${size}x${size} pixels`,
    ...changed.map(
      ({ name, resized }) =>
        `  ${resized === 1 ? "1 image" : `${resized} images`} of ${name} had another size or shape and ${resized === 1 ? "was" : "were"} cropped to a square or scaled down`,
    ),
  ];
}

/** What did not decode: how many, and the first of them. */
export function skippedLines(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return [];
  const named = skipped.slice(0, 5).map(({ name, reason }) => `    ${name} ${reason}`);
  return [
    `  ${skipped.length} image${skipped.length === 1 ? " was" : "s were"} left out:`,
    ...named,
    ...(skipped.length > named.length ? [`    and ${skipped.length - named.length} more (--json has them all)`] : []),
  ];
}
