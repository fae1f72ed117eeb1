/** `fractalgen data`: shows the contents of a data set: its classes with counts, which images were skipped and why, and a contact sheet. */

import type { Command } from "commander";
import { openDataset } from "../data/open.ts";
import { referencePoints } from "../data/references.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { contactSheet } from "../measures/contact-sheet.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { datasetLines, datasetRecord } from "./data-table.ts";
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
    .summary("show the contents of a data set, with a contact sheet")
    .description(
      "Show a data set as training sees it: the number of images in each class, which images were skipped and why, and with --sheet a picture with a row of images for each class.",
    )
    .requiredOption("--data <name|path>", "emoji (built in), or images as for fractalgen train", filled)
    .option("--sheet <file>", "write a contact sheet to this PNG file", filled)
    .option("--per-class <n>", "images per class on the sheet", whole({ least: 1, most: 1000 }), 16)
    .option("--references", "also show the bits per dimension of PNG and lossless WebP on the held-out images")
    .option("--image-size <n>", "pixels per side (default: the images' own, or 32)", whole({ least: 1, most: 4096 }))
    .option("--channels <n>", "1 grey, 2 with alpha, 3 RGB, 4 RGBA", whole({ least: 1, most: 4 }));
  addDataOptions(command)
    .option("--json", "print one line of JSON and no progress")
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
    if (json) console.log(JSON.stringify({ ...datasetRecord(dataset), references, sheet }));
    else {
      console.log(datasetLines(dataset).join("\n"));
      if (references) console.log(`\n${referenceTable(references)}`);
      if (sheet !== undefined) console.log(sheet);
    }
  });
}
