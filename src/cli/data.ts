/** `fractalgen data`: what a data set holds: its classes with counts, what was left out and why, and a contact sheet. */

import type { Command } from "commander";
import { groupedClasses } from "../config/classes.ts";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset, Skipped, Split } from "../data/dataset.ts";
import { takenLines, unusedLines } from "../data/report.ts";
import { openDataset } from "../data/open.ts";
import { referencePoints } from "../data/references.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { gridLayout, gridPng } from "../pictures/grid.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { helpOption } from "./engine.ts";
import { checkFile, checkFolder } from "./outputs.ts";
import { referenceTable } from "./reference-table.ts";
import { withProgress } from "./running.ts";
import { filled, whole } from "./values.ts";

interface DataCommandFlags extends DataFlags {
  data: string;
  imageSize?: number;
  channels?: number;
  sheet?: string;
  perClass: number;
  references?: boolean;
  json?: boolean;
}

export function addData(program: Command): void {
  const command = program
    .command("data")
    .summary("what a data set holds, with a contact sheet")
    .description(
      "Show a data set as a training takes it: how many images each class has, what was left out and why, and with --sheet a picture with a row of images for each class.",
    )
    .requiredOption("--data <name|path>", "emoji (built in), or images as for fractalgen train", filled)
    .option("--sheet <file>", "where the contact sheet is written, a PNG", filled)
    .option("--per-class <n>", "images of each class on the sheet", whole({ least: 1, most: 1000 }), 16)
    .option("--references", "also the bits per dimension that PNG and lossless WebP take for the held-out images")
    .option("--image-size <n>", "pixels per side (default: the images' own, or 32)", whole({ least: 1, most: 4096 }))
    .option("--channels <n>", "1 grey, 2 with alpha, 3 RGB, 4 RGBA", whole({ least: 1, most: 4 }));
  addDataOptions(command)
    .option("--json", "print one line of JSON, no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen data --data emoji --sheet emoji.png\n  fractalgen data --data photos/ --image-size 32 --sheet photos.png --per-class 24",
    )
    .action(showData);
}

async function showData(flags: DataCommandFlags): Promise<void> {
  const { sheet, perClass, json } = flags;
  if (sheet !== undefined) checkFile(sheet, { option: "--sheet", endings: [".png"] });
  checkFolder(flags.cache, { option: "--cache" });
  await withProgress({ quiet: json }, async ({ progress, signal }) => {
    const dataset = await openDataset(flags.data, {
      ...flags,
      signal,
      onProgress: (at, total) => progress.update(`decoding: ${at} of ${total}`),
    });
    progress.clear();
    const references = flags.references
      ? await referencePoints(dataset, {
          signal,
          onProgress: (at, total) => progress.update(`PNG and WebP of the held-out images: ${at} of ${total}`),
        })
      : undefined;
    progress.clear();
    if (sheet !== undefined) await writeFileAtomic(sheet, await contactSheet(dataset, perClass));
    if (json) console.log(JSON.stringify({ ...record(dataset), references, sheet }));
    else {
      console.log(lines(dataset).join("\n"));
      if (references) console.log(`\n${referenceTable(references)}`);
      if (sheet !== undefined) console.log(sheet);
    }
  });
}

const perLabel = ({ labels }: Split, classes: number): Int32Array => {
  const counts = new Int32Array(classes);
  for (const label of labels) counts[label]++;
  return counts;
};

/** For each class, in the order of its group where it has one, how many images each part holds. */
function classCounts({ classes, groups, train, heldOut }: Dataset) {
  const [trained, held] = [train, heldOut].map((split) => perLabel(split, classes.length));
  return groupedClasses({ classes, groups }).flatMap(({ group, labels }) =>
    labels.map((label) => ({ class: classes[label], group, train: trained[label], heldOut: held[label] })),
  );
}

function record(dataset: Dataset) {
  const { name, size, channels, train, heldOut, skipped, notes, report } = dataset;
  const counts = { train: train.count, heldOut: heldOut.count };
  return { name, size, channels, ...counts, classes: classCounts(dataset), leftOut: skipped, notes, report };
}

function lines(dataset: Dataset): string[] {
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

/** Images left out, by reason, those of most images first. */
function leftOutLines(skipped: readonly Skipped[]): string[] {
  if (skipped.length === 0) return [];
  const byReason = new Map<string, string[]>();
  for (const { name, reason } of skipped) {
    const kind = reason.replace(/^it is the same picture as .*/, "it is the same picture as another");
    byReason.set(kind, [...(byReason.get(kind) ?? []), name]);
  }
  const kinds = [...byReason].sort(([, a], [, b]) => b.length - a.length);
  return [
    `left out: ${skipped.length === 1 ? "1 image" : `${skipped.length} images`}`,
    ...kinds
      .slice(0, 20)
      .map(
        ([reason, names]) =>
          `  ${names.length}: ${reason} (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""})`,
      ),
    ...(kinds.length > 20 ? [`  and for ${kinds.length - 20} more reasons (--json has them all)`] : []),
  ];
}

/** The most pixels of a sheet, which any viewer opens. */
const sheetMost = 64e6;

/** A row for each class: its name under the first image, the images' own names under the others; evenly spaced. */
async function contactSheet(dataset: Dataset, perClass: number): Promise<Uint8Array> {
  const { classes, groups, size, channels } = dataset;
  const all = [dataset.train, dataset.heldOut].flatMap((split) =>
    Array.from(split.labels, (label, index) => ({ split, label, index })),
  );
  const order = groupedClasses({ classes, groups }).flatMap(({ labels }) => labels);
  const byClass = new Map(order.map((label) => [label, [] as typeof all]));
  for (const one of all) byClass.get(one.label)!.push(one);
  const columns = Math.min(perClass, Math.max(...[...byClass.values()].map(({ length }) => length)));
  const count = columns * order.length;
  const { width, height } = gridLayout({ count, size, columns, labels: Array.from({ length: count }, () => "") });
  if (width * height > sheetMost)
    throw new UserError(
      `--per-class: a sheet of ${order.length} classes with ${columns} images each would have ${width}x${height} pixels, at most ${sheetMost / 1e6} million are written; ask for fewer images or a smaller --image-size`,
    );
  const bytes = size * size * channels;
  const images = new Uint8Array(count * bytes).fill(255);
  const labels = Array.from({ length: count }, () => "");
  order.forEach((label, row) => {
    const own = byClass.get(label)!;
    const shown = Math.min(columns, own.length);
    for (let column = 0; column < shown; column++) {
      const { split, index } = own[Math.floor((column * own.length) / shown)];
      images.set(split.image(index), (row * columns + column) * bytes);
      labels[row * columns + column] = column === 0 ? classes[label] : split.names[index];
    }
  });
  return gridPng(images, { count, size, channels, columns, labels });
}
