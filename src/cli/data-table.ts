/** What `fractalgen data` prints: a table of classes, or the record of --json. */

import { groupedClasses } from "../config/classes.ts";
import { counted } from "../core/counted.ts";
import type { Dataset, Skipped, Split } from "../data/dataset.ts";
import { takenLines, unusedLines } from "../data/report.ts";

const perLabel = ({ labels }: Split, classes: number): Int32Array => {
  const counts = new Int32Array(classes);
  for (const label of labels) counts[label]++;
  return counts;
};

/** The number of images of each class in both splits; classes are ordered by group if there are groups. */
function classCounts({ classes, groups, train, heldOut }: Dataset) {
  const [trained, held] = [train, heldOut].map((split) => perLabel(split, classes.length));
  return groupedClasses({ classes, groups }).flatMap(({ group, labels }) =>
    labels.map((label) => ({ class: classes[label], group, train: trained[label], heldOut: held[label] })),
  );
}

export function datasetRecord(dataset: Dataset) {
  const { name, size, channels, train, heldOut, skipped, notes, report } = dataset;
  const counts = { train: train.count, heldOut: heldOut.count };
  return { name, size, channels, ...counts, classes: classCounts(dataset), leftOut: skipped, notes, report };
}

export function datasetLines(dataset: Dataset): string[] {
  const { name, size, channels, classes, train, heldOut, skipped, notes } = dataset;
  const shape = `${size}x${size}, ${counted(channels, "channel")}`;
  const rows = classCounts(dataset).map((row) => [row.class, row.group ?? "", String(row.train), String(row.heldOut)]);
  const head = ["class", dataset.groups ? "group" : "", "train", "held out"];
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i].length)));
  const line = (row: string[]) =>
    `  ${row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .filter((_, i) => widths[i] > 0)
      .join("  ")}`;
  return [
    `${name}: ${counted(train.count, "image")} to train on, ${heldOut.count} held out, ${counted(classes.length, "class")}, ${shape}`,
    ...takenLines(dataset),
    ...notes.map((note) => `note: ${note}`),
    ...[head, ...rows].map(line),
    ...unusedLines(dataset),
    ...leftOutLines(skipped),
  ];
}

/** Lists skipped images by reason, the most frequent reason first. */
function leftOutLines(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return [];
  const byReason = new Map<string, string[]>();
  for (const { name, reason } of skipped) {
    const kind = reason.replace(/^it is the same picture as .*/, "it is the same picture as another");
    const names = byReason.get(kind);
    if (names) names.push(name);
    else byReason.set(kind, [name]);
  }
  const kinds = [...byReason].sort(([, a], [, b]) => b.length - a.length);
  return [
    `skipped: ${skipped.length === 1 ? "1 image" : `${skipped.length} images`}`,
    ...kinds
      .slice(0, 20)
      .map(
        ([reason, names]) =>
          `  ${names.length}: ${reason} (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""})`,
      ),
    ...(kinds.length > 20 ? [`  and for ${kinds.length - 20} more reasons (--json has them all)`] : []),
  ];
}
