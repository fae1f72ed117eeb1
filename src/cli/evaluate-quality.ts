/** `fractalgen evaluate quality`: how far generated images are from real ones, measured in a network's features. */

import type { Command } from "commander";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { usualQuality } from "../evaluate/quality.ts";
import { readStatistics } from "../evaluate/statistics.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { openNetwork } from "../measures/feature-network.ts";
import { findGenerated, type GeneratedFlags, leftOf, openBeside } from "./generated.ts";
import { addDrawing, addGenerated, featuresOption } from "./generated-options.ts";
import { type DatasetPart, datasetParts } from "../measures/image-sets.ts";
import { keptFeatures } from "../measures/kept-features.ts";
import { checkNetwork, isStatistics, measureQuality, type QualityReference, usualPart } from "../measures/quality.ts";
import { qualityRecord, qualityTable } from "./evaluate-quality-table.ts";
import { checkFile } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { choice, filled, whole } from "./values.ts";

interface QualityFlags extends DataFlags, GeneratedFlags {
  reference: string;
  part?: DatasetPart;
  features?: string;
  subsets: number;
  subsetSize?: number;
  splits: number;
  neighbours: number;
  saveStats?: string;
  json?: boolean;
  device: Provider;
}

export function addQuality(evaluate: Command): void {
  const command = addGenerated(
    evaluate
      .command("quality")
      .exitOverride()
      .configureOutput({ outputError: () => {} })
      .summary("FID, KID, Inception Score, precision and recall")
      .description(
        "Measure how far generated images are from real ones: FID, KID, Inception Score, precision and recall, as torch-fidelity computes them. Uses FID's Inception-v3 if it is installed (fractalgen download inception), and otherwise a small network trained on the data's own classes. Results from that network only compare models on the same data.",
      )
      .optionsGroup("Images:"),
  )
    .requiredOption(
      "--reference <data|stats.npz>",
      "emoji, images as for fractalgen train, or a file of statistics (mu, sigma)",
      filled,
    )
    .addOption(
      choice(
        "--part <name>",
        "part of the reference (default: train if a part is held out, else all); with train, held-out images are measured too",
        datasetParts,
      ),
    );
  addDataOptions(command)
    .optionsGroup("Measures:")
    .addOption(featuresOption())
    .option("--subsets <n>", "subsets for KID", whole({ least: 1, most: 100_000 }), usualQuality.subsets)
    .option("--subset-size <n>", "images per subset (default: 1000, or the whole smaller set)", whole({ least: 2 }))
    .option("--splits <n>", "splits for the Inception Score", whole({ least: 1, most: 1000 }), usualQuality.splits)
    .option(
      "--neighbours <k>",
      "neighbours for precision and recall",
      whole({ least: 1, most: 1000 }),
      usualQuality.neighbours,
    )
    .option("--save-stats <file>", "save the reference's statistics as .npz, for use with --reference", filled)
    .option("--json", "print one line of JSON and no progress");
  addDrawing(command, { count: 1000 })
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate quality --generated emoji --reference emoji -n 500\n  fractalgen evaluate quality --generated samples/ --reference photos/ --features inception --save-stats photos.npz\n  fractalgen evaluate quality --generated in64/ --reference adm_in64_stats.npz",
    )
    .action(quality);
}

async function quality(flags: QualityFlags): Promise<void> {
  if (flags.saveStats !== undefined) checkFile(flags.saveStats, { option: "--save-stats", endings: [".npz"] });
  const statistics = (await isStatistics(flags.reference)) ? await readStatistics(flags.reference) : undefined;
  if (statistics && flags.saveStats !== undefined)
    throw new UserError("--save-stats: the reference is already a file of statistics; leave this option out");
  await withProgress({ quiet: flags.json, left: leftOf(flags) }, async ({ progress, signal, closing }) => {
    const context = { onProgress: progress.update, signal, kept: keptFeatures(flags.cache) };
    const found = await findGenerated(flags, { progress, signal });
    const dataset = statistics ? undefined : await openBeside(flags.reference, found, flags, { progress, signal });
    const engine = await openEngine(flags);
    const network = closing(await openNetwork(engine, { ...flags, dataset, ...context }), (one) => one.dispose?.());
    const reference: QualityReference = dataset ? { dataset, part: await partOf(flags) } : { statistics: statistics! };
    checkNetwork(network, { imageSize: found.size, reference });
    const generated = closing(await found.open(engine, dataset), (one) => one.dispose?.());
    const asked = { ...flags, generated, reference, network, saveStatistics: flags.saveStats };
    const { reference: real, ...columns } = await measureQuality(engine, asked, context);
    context.kept.forget();
    progress.clear();
    const described = {
      generated: generated.name,
      imageSize: found.size,
      resized: { generated: generated.resized ?? 0, reference: dataset?.report?.resized ?? 0 },
      drawn: found.settings,
      reference: real?.name ?? flags.reference,
      referenceImages: real?.count,
      features: { kind: network.kind, name: network.name, width: network.width },
    };
    const skipped = [...generated.skipped, ...(dataset?.skipped ?? [])];
    const print = flags.json ? qualityRecord : qualityTable;
    console.log(print(described, columns, { network, skipped }));
  });
}

/** If the options hold out a part, images are compared with the rest. */
async function partOf({ part, reference, heldOut, group }: QualityFlags): Promise<DatasetPart> {
  return part ?? (heldOut !== undefined || group !== undefined ? "train" : usualPart(reference));
}
