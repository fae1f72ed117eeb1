/** `fractalgen evaluate likelihood`: bits per dimension of images. */

import { type Command, Option } from "commander";
import { addDataOptions } from "./data-options.ts";
import { deviceOption, helpOption, threadsOption } from "./engine.ts";
import { likelihood } from "./evaluate-likelihood-run.ts";
import { modelOption } from "./models.ts";
import { filled, oneOf, seeds, whole } from "./values.ts";

const parts = ["held-out", "train"] as const;

export function addLikelihood(evaluate: Command): void {
  const command = evaluate
    .command("likelihood")
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .summary("bits per dimension of images")
    .description(
      "Bits per dimension of images, with the standard error of their mean. Exact for AR models. Of MAR models the published estimate, which hides a random number of patches of every square; or with --order the exact likelihood of one random generation order.",
    )
    .optionsGroup("Of what:")
    .addOption(modelOption())
    .requiredOption("--data <name|path>", "emoji, or images as for fractalgen train", filled)
    .addOption(new Option("--part <name>", "of the data").choices(parts).default("held-out").argParser(oneOf(parts)))
    .option("--images <n>", "at most so many, evenly spaced (default: all)", whole({ least: 2 }));
  addDataOptions(command)
    .optionsGroup("How:")
    .option("--passes <n>", "estimates or orders that are averaged for each image", whole({ least: 1, most: 65536 }), 1)
    .option("--order", "of MAR models exactly one random generation order, one patch a step")
    .option("--conditional", "with the images' classes (default: the null class, as published)")
    .option("--seed <n>", "of the random draws", seeds, 0)
    .optionsGroup("What is written:")
    .option("--per-image <file>", "a line of JSON for each image; an interrupted run goes on from it", filled)
    .option(
      "--map <file>",
      "where the bits go: a PNG of 8 images, each beside its bits per pixel; exact or --order",
      filled,
    )
    .option(
      "--chart <file>",
      "an SVG of calibration, bits by channel, and bits by how much of a square was known; takes all images at once",
      filled,
    )
    .option("--json", "print one line of JSON, no progress")
    .optionsGroup("How it runs:")
    .option("--batch <n>", "views of images at once; no result depends on it", whole({ least: 1, most: 4096 }), 64)
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate likelihood --model emoji --data emoji --passes 4\n  fractalgen evaluate likelihood --model runs/photos --data photos/ --order --per-image photos.jsonl\n  fractalgen evaluate likelihood --data emoji --images 100 --chart likelihood.svg",
    )
    .action(likelihood);
}
