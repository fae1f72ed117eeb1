/** `fractalgen evaluate likelihood`: bits per dimension of images. */

import type { Command } from "commander";
import { addDataOptions } from "./data-options.ts";
import { deviceOption, helpOption, precisionOption, threadsOption } from "./engine.ts";
import { likelihood } from "./evaluate-likelihood-run.ts";
import { modelOption } from "./models.ts";
import { addQueueOptions } from "./queue-options.ts";
import { addShardOptions } from "./shard.ts";
import { choice, filled, seeds, whole } from "./values.ts";

const parts = ["held-out", "train"] as const;

export function addLikelihood(evaluate: Command): void {
  const command = evaluate
    .command("likelihood")
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .summary("bits per dimension of images")
    .description(
      "Measure the bits per dimension of images, with the standard error of the mean. The result is exact for AR models. For MAR models it is the published estimate, which masks a random number of patches in every square, or with --order the exact likelihood of one random generation order.",
    )
    .optionsGroup("Images:")
    .addOption(modelOption())
    .requiredOption("--data <name|path>", "emoji, or images as for fractalgen train", filled)
    .addOption(choice("--part <name>", "part of the data", parts).default("held-out"))
    .option("--images <n>", "at most this many, evenly spaced (default: all)", whole({ least: 2 }));
  addDataOptions(command)
    .optionsGroup("How:")
    .option("--passes <n>", "estimates or orders to average for each image", whole({ least: 1, most: 65536 }), 1)
    .option("--order", "for MAR models: score exactly one random generation order, one patch per step")
    .option("--conditional", "use the images' classes (default: the null class, as published)")
    .option("--seed <n>", "random seed", seeds, 0)
    .optionsGroup("Output:")
    .option(
      "--per-image <file>",
      "write a line of JSON for each image; an interrupted run resumes from this file",
      filled,
    )
    .option(
      "--map <file>",
      "write a PNG of 8 images, each next to a map of its bits per pixel; needs an AR model or --order",
      filled,
    )
    .option(
      "--chart <file>",
      "write an SVG of calibration, bits by channel, and bits by the known share of a square; needs all images in one run",
      filled,
    )
    .option("--json", "print one line of JSON and no progress")
    .optionsGroup("Performance:")
    .option("--batch <n>", "image views per batch; does not affect results", whole({ least: 1, most: 4096 }), 64)
    .addOption(deviceOption())
    .addOption(precisionOption())
    .addOption(threadsOption());
  addShardOptions(addQueueOptions(command))
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate likelihood --model emoji --data emoji --passes 4\n  fractalgen evaluate likelihood --model runs/photos --data photos/ --order --per-image photos.jsonl\n  fractalgen evaluate likelihood --data emoji --images 100 --chart likelihood.svg",
    )
    .action(likelihood);
}
