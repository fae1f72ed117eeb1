/** `fractalgen evaluate features`: trains the network that measures images when FID's Inception-v3 is not available. */

import type { Command } from "commander";
import { parameterCount } from "../core/counted.ts";
import { openDataset } from "../data/open.ts";
import type { Provider } from "../engine/engine.ts";
import { usualFeatureTraining } from "../evaluate/own-features-training.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { trainedNetwork } from "../measures/feature-network.ts";
import { ownNew } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { filled, seeds, whole } from "./values.ts";

interface FeaturesFlags extends DataFlags {
  data: string;
  out: string;
  imageSize?: number;
  channels?: number;
  steps: number;
  batch: number;
  seed: number;
  json?: boolean;
  device: Provider;
  threads?: number;
}

export function addFeatures(evaluate: Command): void {
  const command = evaluate
    .command("features")
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .summary("train a feature network for measuring images")
    .description(
      "Train a small classifier of the data's classes (or, for a single class, of how an image was rotated) for use with --features of quality and memorisation. Those commands train such a network automatically with the default settings. Use this command to keep one, so that all your models are measured with the same features. Distances in these features are not comparable with published FID or KID.",
    )
    .requiredOption("--data <name|path>", "emoji, or images as for fractalgen train", filled)
    .requiredOption("--out <dir>", "a new folder for the network", filled)
    .option("--image-size <n>", "pixels per side (default: the images' own, or 32)", whole({ least: 1, most: 4096 }))
    .option("--channels <n>", "1 grey, 2 with alpha, 3 RGB, 4 RGBA", whole({ least: 1, most: 4 }));
  addDataOptions(command)
    .option("--steps <n>", "optimiser steps", whole({ least: 1 }), usualFeatureTraining.steps)
    .option("--batch <n>", "images per step", whole({ least: 2, most: 65536 }), usualFeatureTraining.batch)
    .option("--seed <n>", "random seed for weights, order and shifts", seeds, 0)
    .option("--json", "print one line of JSON and no progress")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate features --data photos/ --out features/photos --image-size 32\n  fractalgen evaluate quality --generated runs/photos --reference photos/ --features features/photos",
    )
    .action(features);
}

async function features(flags: FeaturesFlags): Promise<void> {
  const { out, steps, batch, seed, json } = flags;
  const summary = await withProgress({ quiet: json }, async ({ progress, signal, closing }) => {
    const owned = closing(await ownNew(out, { option: "--out", signal }), ({ release }) => release());
    const dataset = await openDataset(flags.data, {
      ...flags,
      signal,
      onProgress: (at, total) => progress.update(`decoding: ${at} of ${total}`),
    });
    const engine = await openEngine(flags);
    return trainedNetwork(engine, dataset, {
      folder: out,
      steps,
      batch,
      seed,
      onProgress: progress.update,
      signal,
      owned,
    });
  });
  if (!summary) return;
  if (json) {
    console.log(JSON.stringify({ out, ...summary }));
    return;
  }
  const told = summary.task === "classes" ? "classes" : "quarter turns";
  console.error(
    `${parameterCount(summary.parameters)}; recognises the ${told} of ${(100 * summary.accuracy).toFixed(1)}% of held-out images`,
  );
  console.log(out);
}
