/** `fractalgen evaluate quality`: how far generated images are from real ones, measured in a network's features. */

import type { Command } from "commander";
import { usualQuality } from "../evaluate/quality.ts";
import { addDataOptions } from "./data-options.ts";
import { deviceOption, helpOption, threadsOption } from "./engine.ts";
import { addDrawing, addGenerated, featuresOption } from "./generated-options.ts";
import { datasetParts } from "../measures/image-sets.ts";
import { choice, filled, whole } from "./values.ts";
import { addQueueOptions } from "./queue-options.ts";
import { addShardOptions } from "./shard.ts";
import { quality } from "./evaluate-quality-run.ts";

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
  addDrawing(command, { count: 1000 }).addOption(deviceOption()).addOption(threadsOption());
  addShardOptions(addQueueOptions(command))
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate quality --generated emoji --reference emoji -n 500\n  fractalgen evaluate quality --generated samples/ --reference photos/ --features inception --save-stats photos.npz\n  fractalgen evaluate quality --generated in64/ --reference adm_in64_stats.npz",
    )
    .action(quality);
}
