/** `fractalgen train`: trains a model on any images, tells how it goes, stops and resumes without loss. */

import { join } from "node:path";
import { type Command, Option } from "commander";
import { sizes } from "../config/presets.ts";
import { recipeNames } from "../config/recipes.ts";
import { type TrainingGroup, trainingNames, trainingSetting } from "../config/training.ts";
import { counted, parameterCount } from "../core/counted.ts";
import type { Dataset } from "../data/dataset.ts";
import { openDataset } from "../data/open.ts";
import { reportLines } from "../data/report.ts";
import { own, type Ownership } from "../files/ownership.ts";
import { train } from "../train/trainer.ts";
import { parallelTrainingStep } from "../workers/training.ts";
import { defaultCache } from "./cache.ts";
import { setsOption } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { duration } from "./progress.ts";
import { type Running, withProgress } from "./running.ts";
import { settingOption } from "./setting-option.ts";
import { beginning, checkSame, type Prepared, runFolder, settle, type TrainFlags } from "./train-settings.ts";
import { type OnlineQuality, openOnlineQuality } from "./train-quality.ts";
import { reporter } from "./train-report.ts";
import { openRun } from "./train-run.ts";
import { bytes, filled, number, oneOf, whole } from "./values.ts";

const kinds = ["mar", "ar"] as const;

export function addTrain(program: Command): void {
  const choice = <const T extends string>(flags: string, description: string, choices: readonly T[]) =>
    new Option(flags, description).choices(choices).argParser(oneOf(choices));
  const command = program
    .command("train")
    .summary("train a model on your images")
    .description(
      "Train a model. The run's folder gets checkpoints, a log, the learning curve (curve.svg), sample grids and TensorBoard events. Ctrl-C stops with a checkpoint, from which --resume goes on as if there had been no stop.",
    )
    .option("--data <name|path>", "emoji (built in), a folder of images, or IDX, .npz or Parquet files", filled)
    .option("--out <dir>", "a new folder for the run", filled)
    .option("--resume <dir>", "go on from a run's last checkpoint, with its settings", filled)
    .option("--init-from <dir>", "fine-tune: start from a model's weights; new classes get new embeddings", filled)
    .optionsGroup("Images:")
    .option("--image-size <n>", "pixels per side (default: the images' own, or 32)", whole({ least: 1, most: 4096 }))
    .option(
      "--channels <n>",
      "1 grey, 2 with alpha, 3 RGB, 4 RGBA (default: by the images)",
      whole({ least: 1, most: 4 }),
    )
    .option("--held-out <x|path>", "a share such as 0.05, or other data (default: their test part, or 0.05)", filled)
    .option("--skip-small", "leave out images that are smaller than the image size")
    .option("--group <regex>", "images whose names match alike are never split between training and held out", filled)
    .addOption(setsOption())
    .optionsGroup("Model:")
    .addOption(choice("--size <name>", "about 3M, 6M or 23M parameters (default: tiny)", sizes))
    .addOption(choice("--kind <name>", "mar: any order, several patches a step; ar: one after another", kinds))
    .addOption(choice("--recipe <name>", "default, or published: the published trainer's settings", recipeNames))
    .option("--config <file>", 'JSON with "model" and "training", each as far as it differs from the preset', filled)
    .option("--red-weight <x>", "weight of the first channel in the loss", number({ above: 0 }))
    .optionsGroup("Settings (default: the preset's, or the resumed run's):");
  addSettings(command, "recipe")
    .option("--epochs <x>", "steps in passes over the training images", number({ above: 0 }))
    .option("--flip", "the same as --augment flip")
    .option("--blr <x>", "learning rate for a batch of 256, scaled to the batch", number({ above: 0 }))
    .optionsGroup("When:");
  addSettings(command, "when")
    .option("--features <name|dir>", "what KID is measured with, as for evaluate quality", filled)
    .optionsGroup("How it runs:");
  addSettings(command, "running")
    .option("--memory <size>", "such as 3GB: picks these two (default: half of what is free)", bytes)
    .option("--cache <dir>", "where decoded data sets are kept", filled, defaultCache())
    .option("--no-samples", "no sample grids")
    .option("--json", "print the log's records as lines of JSON, no progress")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen train --data photos/ --out runs/photos --image-size 32\n  fractalgen train --data emoji --out runs/emoji\n  fractalgen train --resume runs/photos\n  fractalgen sample --model runs/photos",
    )
    .action(runTraining);
}

/** The declared settings of a group. */
function addSettings(command: Command, group: TrainingGroup): Command {
  for (const name of trainingNames) {
    const setting = trainingSetting(name);
    if (setting.group === group) command.addOption(settingOption(name, setting, setting));
  }
  return command;
}

async function runTraining(flags: TrainFlags): Promise<void> {
  const out = runFolder(flags);
  const opening: Opening = { done: false };
  const onStop = () => {
    if (opening.done) console.error("stopping after this step; Ctrl-C again stops at once, without a checkpoint");
  };
  await withProgress({ quiet: flags.json, onStop }, async (running) => {
    const { progress, signal, closing } = running;
    // Before anything of the run is read: another process may be about to save.
    const owned = closing(await own(out, { inside: true, signal }), ({ release }) => release());
    const begun = await beginning(flags);
    const opened = await openDataset(begun.data.source, {
      ...begun.data,
      cache: flags.cache,
      signal,
      onProgress: (at, total) => progress.update(`decoding images: ${at} of ${total}`),
    });
    progress.clear();
    const dataset = begun.resumed ? checkSame(begun, opened) : opened;
    const prepared = settle(begun, dataset, flags);
    if (prepared.state.step >= prepared.training.steps) {
      const { step } = prepared.state;
      console.error(
        `the run is done: ${step} of ${counted(prepared.training.steps, "step")}; to go on give more, such as --steps ${2 * step}`,
      );
      return;
    }
    if (!flags.json) describe(dataset, prepared);
    await trainAndWrite(flags, { ...prepared, dataset, out, owned, opening }, running);
  });
}

/** Done when all is ready for the first step: from then on a stop saves. */
interface Opening {
  done: boolean;
}

async function trainAndWrite(
  flags: TrainFlags,
  {
    out,
    owned,
    opening,
    ...prepared
  }: Prepared & { dataset: Dataset; out: string; owned: Ownership; opening: Opening },
  { progress, signal, exitCode, closing }: Running,
): Promise<void> {
  const { model, training, state, dataset } = prepared;
  progress.update("building the graphs of the model and its gradients");
  const engine = await openEngine(flags);
  const computing = { ...training, provider: engine.provider };
  const step = closing(await parallelTrainingStep(model, computing), (one) => one.dispose());
  let quality: OnlineQuality | undefined;
  if (training.kidSteps > 0)
    quality = closing(await openOnlineQuality(engine, { ...flags, dataset, training, progress, signal }), (one) =>
      one.close(),
    );
  const onReferences = (at: number, total: number) =>
    progress.update(`reference points: PNG and WebP of the held-out images: ${at} of ${total}`);
  const { samples, json } = flags;
  const options = { ...prepared, owned, samples, quality, json, onReferences, signal };
  const run = closing(await openRun(out, engine, options), (one) => one.close());
  opening.done = true;
  progress.clear();
  if (!json) console.error(run.references);
  const report = reporter(training, progress);
  for await (const record of train(engine, { ...prepared, step, signal })) {
    const measured = await run.add(record);
    report(measured ?? record);
  }
  progress.clear();
  if (state.step < training.steps) {
    console.error(
      `stopped after ${state.step} of ${counted(training.steps, "step")}; go on with: fractalgen train --resume ${out}`,
    );
    process.exitCode = exitCode();
  } else
    console.error(`done: ${counted(state.step, "step")}; see what it learnt with: fractalgen sample --model ${out}`);
  if (!json) console.log(join(out, "last"));
}

/** What will be trained on what, before hours go into it. */
function describe(dataset: Dataset, prepared: Prepared): void {
  const { model, training } = prepared;
  for (const line of reportLines(dataset)) console.error(line);
  const epochs = (training.steps * training.batch) / dataset.train.count;
  console.error(
    `${model.name ?? "model"}: ${parameterCount(prepared.parameters)}; ${counted(training.steps, "step")} of ${counted(training.batch, "image")} (${epochs < 0.05 ? "under 0.1" : epochs.toFixed(epochs < 10 ? 1 : 0)} epochs), ${training.microBatch} at once in each thread${training.checkpointing ? ", with checkpointing" : ""}; a checkpoint every ${duration(training.checkpointSeconds)}`,
  );
}
