/** Lines in the tables of measures about image sets: their size, and skipped images. */

import type { Skipped } from "../data/dataset.ts";

/** The size at which sets are compared, and how many images were resized to it. */
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

/** The number of images that did not decode, and the first few names. */
export function skippedLines(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return [];
  const named = skipped.slice(0, 5).map(({ name, reason }) => `    ${name} ${reason}`);
  return [
    `  ${skipped.length} image${skipped.length === 1 ? " was" : "s were"} skipped:`,
    ...named,
    ...(skipped.length > named.length ? [`    and ${skipped.length - named.length} more (--json has them all)`] : []),
  ];
}
