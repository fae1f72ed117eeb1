/** `fractalgen train`: trains a model on any images, reports progress, and stops and resumes without loss. */

import type { Command } from "commander";
import { presetKinds, sizes } from "../config/presets.ts";
import { recipeNames } from "../config/recipes.ts";
import { type TrainingGroup, trainingHelp, trainingNames, trainingSetting } from "../config/training.ts";
import { dataFormats } from "../data/formats.ts";
import { defaultCache } from "../files/cache.ts";
import { builtInKinds, kindOf } from "../levels/table.ts";
import { classNamesOption, setsOption } from "./data-options.ts";
import { deviceOption, helpOption, precisionOption, threadsOption } from "./engine.ts";
import { queueHelp, sharedHelp } from "./queue-options.ts";
import { settingOption } from "./setting-option.ts";
import { runTraining } from "./train-command.ts";
import { bytes, choice, filled, number, several, whole } from "./values.ts";

export function addTrain(program: Command): void {
  const command = program
    .command("train")
    .summary("train a model on your images")
    .description(
      "Train a model. The run's folder holds checkpoints, a log, the learning curve (curve.svg), sample grids and TensorBoard events. Ctrl-C saves a checkpoint and stops; --resume continues exactly as if the run had not been interrupted.",
    )
    .option("--data <name|path>", `emoji (built in), ${dataFormats}`, filled)
    .option("--out <dir>", "a new folder for the run", filled)
    .option("--resume <dir>", "resume a run from its last checkpoint, with its settings", filled)
    .option(
      "--init-from <dir>",
      "fine-tune: start from a model's weights, at half the usual learning rate; new classes get new embeddings. If --config changes the levels, the levels and tensors that fit are used, and a level also fits if its width and heads are the same multiple of the model's; repeat to combine several models",
      several,
    )
    .optionsGroup("Images:")
    .option("--image-size <n>", "pixels per side (default: the images' own, or 32)", whole({ least: 1, most: 4096 }))
    .option(
      "--channels <n>",
      "1 grey, 2 grey with alpha, 3 RGB, 4 RGBA (default: the images' own)",
      whole({ least: 1, most: 4 }),
    )
    .option(
      "--held-out <x|path>",
      "a fraction such as 0.05, or other data (default: the data's test split, or 0.05)",
      filled,
    )
    .option("--skip-small", "skip images smaller than the image size")
    .option(
      "--group <regex>",
      "keep images whose names have the same match together, all in training or all held out",
      filled,
    )
    .addOption(classNamesOption())
    .addOption(setsOption())
    .optionsGroup("Model:")
    .addOption(choice("--size <name>", "about 4M, 7M or 24M parameters (default: tiny)", sizes))
    .addOption(
      choice(
        "--kind <name>",
        `order in which patches are predicted; ${builtInKinds.map((kind) => `${kind}: ${kindOf({ kind }).order.words}`).join("; ")}; mix: like mar at the first level and like ar inside (default: mix, or mar with --recipe published)`,
        presetKinds,
      ),
    )
    .addOption(choice("--recipe <name>", "default, or published: the published trainer's settings", recipeNames))
    .option("--config <file>", 'JSON with "model" and "training", each listing what differs from the preset', filled)
    .option("--red-weight <x>", "weight of the first channel in the loss", number({ above: 0 }))
    .optionsGroup("Settings (default: the preset's, or the resumed run's):");
  addSettings(command, "recipe")
    .option("--epochs <x>", "training length as passes over the training images", number({ above: 0 }))
    .option("--flip", "the same as --augment flip")
    .option("--blr <x>", "learning rate for a batch of 256, scaled to the actual batch", number({ above: 0 }))
    .optionsGroup("Schedule:");
  addSettings(command, "when")
    .option("--features <name|dir>", "feature network for KID, as for evaluate quality", filled)
    .optionsGroup("Replicas and other machines (see fractalgen worker --help):");
  addSettings(command, "replicas")
    .option("--queue <url>", queueHelp, filled)
    .option("--shared <dir>", sharedHelp, filled)
    .optionsGroup("Performance:");
  addSettings(command, "running")
    .option(
      "--memory <size>",
      "limit for the memory of the machine or the GPU, such as 3GB; sets the micro-batch and checkpointing (default: half of the free memory)",
      bytes,
    )
    .option("--cache <dir>", "where decoded data sets are cached", filled, defaultCache())
    .option("--no-samples", "draw no sample grids")
    .option("--json", "print the log's records as lines of JSON and no progress")
    .addOption(deviceOption())
    .addOption(precisionOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen train --data photos/ --out runs/photos --image-size 32\n  fractalgen train --data emoji --out runs/emoji\n  fractalgen train --resume runs/photos\n  fractalgen sample --model runs/photos",
    )
    .action(runTraining);
}

/** Adds the declared settings of a group as options. */
function addSettings(command: Command, group: TrainingGroup): Command {
  for (const name of trainingNames) {
    const setting = trainingSetting(name);
    if (setting.group === group)
      command.addOption(settingOption(name, setting, { ...setting, help: trainingHelp(name) }));
  }
  return command;
}
