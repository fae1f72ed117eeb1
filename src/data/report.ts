/** Reports how a data set was read: what was used, how many of each, what was left out and why. */

import { counted } from "../core/counted.ts";
import { shown } from "../core/text.ts";
import type { Dataset, Skipped } from "./dataset.ts";

const mostClasses = 12;
const mostSkipped = 3;

/** The report as lines of text. Everything unused is mentioned, at least with its number and reason. */
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

/** The recognised format, the parts that are used, and how many images were resized. */
export function takenLines({ report }: Dataset): string[] {
  if (!report) return [];
  const { format, taken, resized } = report;
  const one = resized === 1;
  return [
    `read as ${format}; ${taken.map((part) => shown(part, 300)).join("; ")}`,
    ...(resized > 0
      ? [
          `${counted(resized, "image")} had a different size or shape and ${one ? "was" : "were"} cropped to a square or scaled down`,
        ]
      : []),
  ];
}

/** Unused files, columns and arrays, one line per reason. */
export const unusedLines = ({ report }: Dataset): string[] =>
  (report?.leftOut ?? []).map(({ why, count, names }) => {
    const more = count > names.length ? ` and ${count - names.length} more` : "";
    return `left out: ${names.map((one) => shown(one)).join(", ")}${more} (${why})`;
  });

/**
 * Each class with its training and held-out images as "train+held out"; only the largest and smallest of many classes.
 */
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
    .join(", ")}, … ${told(sorted.at(-1)!)} (images to train on + held out; largest and smallest classes)`;
}

function skippedLine(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return [];
  const first = skipped.slice(0, mostSkipped).map(({ name, reason }) => `${shown(name)} (${shown(reason, 200)})`);
  return [
    `note: ${counted(skipped.length, "image")} skipped: ${first.join("; ")}${skipped.length > mostSkipped ? "; …" : ""}`,
  ];
}
