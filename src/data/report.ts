/** How a data set was understood, in lines for people: what was taken, how many of what, what was left out and why. */

import { counted } from "../core/counted.ts";
import { shown } from "../core/text.ts";
import type { Dataset, Skipped } from "./dataset.ts";

const mostClasses = 12;
const mostSkipped = 3;

/** A sentence or two a line. Everything that is not used is named, at least by its number and its reason. */
export function reportLines(dataset: Dataset): string[] {
  const { name, train, heldOut, classes, size, channels, skipped, notes } = dataset;
  const shape = `${size}x${size}, ${counted(channels, "channel")}`;
  return [
    `${shown(name)}: ${counted(train.count, "image")} to train on, ${heldOut.count} held out, ${counted(classes.length, "class")}, ${shape}`,
    ...takenLines(dataset),
    ...(classes.length > 1 ? [`classes: ${classCounts(dataset)}`] : []),
    ...notes.map((note) => `note: ${note}`),
    ...unusedLines(dataset),
    ...skippedLine(skipped),
  ];
}

/** What the source was taken for, which parts of it are read, and how many images were changed to fit. */
export function takenLines({ report }: Dataset): string[] {
  if (!report) return [];
  const { format, taken, resized } = report;
  const one = resized === 1;
  return [
    `read as ${format}; ${taken.map((part) => shown(part, 300)).join("; ")}`,
    ...(resized > 0
      ? [
          `${counted(resized, "image")} had another size or shape and ${one ? "was" : "were"} cropped to a square or scaled down`,
        ]
      : []),
  ];
}

/** Files, columns and arrays that are not read, a line for each reason. */
export const unusedLines = ({ report }: Dataset): string[] =>
  (report?.leftOut ?? []).map(({ why, count, names }) => {
    const more = count > names.length ? ` and ${count - names.length} more` : "";
    return `left out: ${names.map((one) => shown(one)).join(", ")}${more} (${why})`;
  });

/** Each class with its images to train on and, after a plus, those held out; the largest and the smallest of many. */
function classCounts({ classes, train, heldOut }: Dataset): string {
  const counts = classes.map((name) => ({ name, train: 0, heldOut: 0 }));
  for (const label of train.labels) counts[label].train++;
  for (const label of heldOut.labels) counts[label].heldOut++;
  const told = ({ name, train: trained, heldOut: held }: (typeof counts)[number]) =>
    `${shown(name, 40)} ${trained}+${held}`;
  if (counts.length <= mostClasses) return counts.map(told).join(", ");
  const sorted = counts.toSorted((a, b) => b.train - a.train);
  return `${sorted
    .slice(0, mostClasses / 2)
    .map(told)
    .join(", ")}, … ${told(sorted.at(-1)!)} (images to train on + held out; the largest and the smallest)`;
}

function skippedLine(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return [];
  const first = skipped.slice(0, mostSkipped).map(({ name, reason }) => `${shown(name)} (${shown(reason, 200)})`);
  return [
    `note: ${counted(skipped.length, "image")} skipped: ${first.join("; ")}${skipped.length > mostSkipped ? "; …" : ""}`,
  ];
}
