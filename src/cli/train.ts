/** `fractalgen train`: trains a model, with checkpoints, a log and progress; stops and resumes without loss. */

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { z } from "zod";
import { explain, type ModelConfig, parseModelConfig } from "../config/model.ts";
import { emojiPreset } from "../config/presets.ts";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import { emojiDataset } from "../data/emoji.ts";
import type { Provider } from "../engine/engine.ts";
import { makeFolder } from "../files/atomic.ts";
import { readJson } from "../files/model.ts";
import { loadCheckpoint, type Resumed, saveCheckpoint, startingState } from "../train/checkpoint.ts";
import { train, type TrainingRecord } from "../train/trainer.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { interruptible } from "./interrupt.ts";
import { checkFolder } from "./outputs.ts";
import { duration, progressOn, rateOf } from "./progress.ts";
import { appendRecord, trimLog } from "./training-log.ts";
import { filled, number, oneOf, whole } from "./values.ts";

interface TrainFlags extends Partial<TrainingConfig> {
  data?: string;
  out?: string;
  config?: string;
  resume?: string;
  cache: string;
  json?: boolean;
  device: Provider;
  threads?: number;
}

const defaultCache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");

const schedules = ["cosine", "constant"] as const satisfies readonly TrainingConfig["schedule"][];

export function addTrain(program: Command): void {
  program
    .command("train")
    .summary("train a model")
    .description(
      "Train a model. Ctrl-C stops with a checkpoint, from which --resume goes on as if there had been no stop.",
    )
    .option("--data <name>", "what to train on: emoji (drawn from npm packages the first time, about 20 s)", filled)
    .option("--out <dir>", "a new folder for checkpoints and the log", filled)
    .option("--resume <dir>", "go on from the last checkpoint of a run, with its settings", filled)
    .option("--config <file>", 'JSON with "model" and "training", each as far as it differs from the preset', filled)
    .optionsGroup("Settings (default: the preset's, or the resumed run's):")
    .option("--steps <n>", "optimiser steps", whole({ least: 1 }))
    .option("--batch <n>", "images per step", whole({ least: 1, most: 65536 }))
    .option(
      "--micro-batch <n>",
      "images per run of the graph; the result does not depend on it",
      whole({ least: 1, most: 65536 }),
    )
    .option("--learning-rate <x>", "peak learning rate", number({ above: 0 }))
    .option("--warmup <n>", "steps of linear warm-up", whole({ least: 0 }))
    .addOption(
      new Option("--schedule <name>", "learning rate after the warm-up").choices(schedules).argParser(oneOf(schedules)),
    )
    .option("--ema <x>", "decay of the moving average of the weights, 0 for none", number({ least: 0, most: 0.999999 }))
    .option("--label-drop <p>", "share of labels dropped to the null class", number({ least: 0, most: 1 }))
    .option("--attention-dropout <p>", "dropout on attention", number({ least: 0, most: 0.99 }))
    .option("--projection-dropout <p>", "dropout on projections", number({ least: 0, most: 0.99 }))
    .option("--balance <x>", "0: images alike, 1: classes alike", number({ least: 0, most: 1 }))
    .option("--flip", "flip half of the images")
    .option("--seed <n>", "of weights, order and draws", whole({ least: 0, most: Number.MAX_SAFE_INTEGER }))
    .option("--evaluate-steps <n>", "steps between held-out likelihoods", whole({ least: 1 }))
    .option("--checkpoint-seconds <s>", "seconds between checkpoints", number({ least: 0.1 }))
    .optionsGroup("How it runs:")
    .option("--cache <dir>", "where decoded data sets are kept", filled, join(defaultCache, "fractalgen"))
    .option("--json", "print the log's records as lines of JSON, no progress")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen train --data emoji --out runs/emoji\n  fractalgen train --resume runs/emoji\n  fractalgen sample --model runs/emoji",
    )
    .action(runTraining);
}

async function runTraining(flags: TrainFlags): Promise<void> {
  const out = runFolder(flags);
  const resumed = flags.resume === undefined ? undefined : await loadCheckpoint(join(out, "last"));
  const given = resumed ? undefined : configFile(flags.config);
  const progress = progressOn(process.stderr, { quiet: flags.json });
  const size = resumed ? resumed.model.imageSize : given!.imageSize;
  const dataset = await openData(flags.data ?? resumed?.dataset, { ...flags, size }, (line) => progress.update(line));
  const { model, training, state } = resumed ? continued(resumed, flags) : fresh(flags, given!, dataset);
  if (state.step >= training.steps) {
    console.error(
      `the run is done: ${state.step} of ${training.steps} steps; to go on give more, such as --steps ${2 * state.step}`,
    );
    return;
  }

  await makeFolder(out);
  const log = join(out, "log.jsonl");
  await trimLog(log, state);
  const engine = await openEngine(flags);
  progress.update("building the graphs of the model and its gradients");
  const { signal, exitCode, done } = interruptible({
    onStop() {
      progress.clear();
      console.error("stopping after this step; Ctrl-C again stops at once, without a checkpoint");
    },
  });
  const save = () => saveCheckpoint(join(out, "last"), { model, training, dataset: dataset.name, state });
  const report = reporter(training, progress);
  let saved = performance.now();
  let unsaved = true;
  try {
    for await (const record of train(engine, { model, training, dataset, state, signal })) {
      await appendRecord(log, record);
      if (flags.json) console.log(JSON.stringify(record));
      report(record);
      unsaved = true;
      if (performance.now() - saved < training.checkpointSeconds * 1000) continue;
      await save();
      saved = performance.now();
      unsaved = false;
    }
    if (unsaved) await save();
  } finally {
    done();
    progress.clear();
  }
  if (state.step < training.steps) {
    console.error(
      `stopped after ${state.step} of ${training.steps} steps; go on with: fractalgen train --resume ${out}`,
    );
    process.exitCode = exitCode();
  } else console.error(`done: ${state.step} steps; see what it learnt with: fractalgen sample --model ${out}`);
  if (!flags.json) console.log(join(out, "last"));
}

/** The folder of the run, checked before any work. */
function runFolder({ out, resume, config, cache }: TrainFlags): string {
  checkFolder(cache, { option: "--cache" });
  if (resume !== undefined) {
    const extra = out !== undefined ? "--out" : config !== undefined ? "--config" : undefined;
    if (extra)
      throw new UserError(`--resume goes on in the run's own folder with its own settings; leave ${extra} out`);
    // What `train` prints at its end is the checkpoint; its run is meant.
    return basename(resolve(resume)) === "last" && existsSync(join(resume, "state.json"))
      ? dirname(resolve(resume))
      : resume;
  }
  if (out === undefined)
    throw new UserError("train needs --out DIR for its checkpoints (or --resume DIR to go on with a run)");
  checkFolder(out, { option: "--out" });
  if (existsSync(join(out, "last")))
    throw new UserError(`--out: ${out} already holds a run; go on with it by --resume ${out}, or give another folder`);
  return out;
}

async function openData(
  name: string | undefined,
  { cache, size }: { cache: string; size: number },
  say: (line: string) => void,
): Promise<Dataset> {
  if (name === undefined) throw new UserError("train needs --data; the built-in set is: emoji");
  if (name !== "emoji")
    throw new UserError(
      `--data: there is no data set "${name}"; the built-in set is: emoji${didYouMean(name, ["emoji"])}`,
    );
  return emojiDataset({ size, cache, onProgress: (at, total) => say(`rendering emoji: ${at} of ${total}`) });
}

const settingNames = [
  "steps",
  "batch",
  "microBatch",
  "learningRate",
  "warmup",
  "schedule",
  "ema",
  "labelDrop",
  "attentionDropout",
  "projectionDropout",
  "balance",
  "flip",
  "seed",
  "evaluateSteps",
  "checkpointSeconds",
] as const satisfies readonly (keyof TrainingConfig)[];

const settingsGiven = (flags: TrainFlags): Partial<TrainingConfig> =>
  Object.fromEntries(settingNames.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]])));

const fileSchema = z.strictObject({
  model: z.record(z.string(), z.unknown()).default({}),
  training: z.record(z.string(), z.unknown()).default({}),
});

interface Given {
  source: string;
  model: Record<string, unknown>;
  training: Record<string, unknown>;
  /** What decides how the data are drawn. */
  imageSize: number;
}

/** What --config gives, checked before any work. */
function configFile(path: string | undefined): Given {
  const source = path ?? "the preset";
  const parsed = fileSchema.safeParse(path === undefined ? {} : readJson(path));
  if (!parsed.success)
    throw new UserError(`${source}: ${explain(parsed.error.issues[0])}; expected {"model": {…}, "training": {…}}`);
  const { model, training } = parsed.data;
  // Any class name will do: those of the data come in once they are there.
  const { imageSize } = parseModelConfig({ ...emojiPreset.model, classes: ["any"], ...model }, source);
  parseTrainingConfig({ ...emojiPreset.training, ...training }, source);
  return { source, model, training, imageSize };
}

function fresh(flags: TrainFlags, given: Given, { classes }: Dataset) {
  const model: ModelConfig = parseModelConfig({ ...emojiPreset.model, classes, ...given.model }, given.source);
  const training = parseTrainingConfig(
    { ...emojiPreset.training, ...given.training, ...settingsGiven(flags) },
    given.source,
  );
  return { model, training, state: startingState(model, training.seed, training) };
}

/** A resumed run keeps its settings but for what does not change the steps already taken. */
function continued({ model, training, state }: Resumed, flags: TrainFlags) {
  const changes = settingsGiven(flags);
  const fixed = ["seed", "batch", "ema"] as const;
  for (const name of fixed)
    if (changes[name] !== undefined && changes[name] !== training[name])
      throw new UserError(
        `--${name}: the run was started with ${training[name]} and cannot go on with ${changes[name]}; leave it out, or start anew with another --out`,
      );
  return { model, training: parseTrainingConfig({ ...training, ...changes }, "the options"), state };
}

/** Progress with loss, bits per dimension, rate and time left, smoothed over the last steps. */
function reporter(
  { batch, steps }: TrainingConfig,
  progress: { update(line: string): void },
): (record: TrainingRecord) => void {
  let seconds = 0;
  let bits = 0;
  let loss = 0;
  let heldOut = "";
  let seen = 0;
  return (record) => {
    if (record.kind === "evaluation") {
      heldOut = `  held out ${record.bits.toFixed(3)}`;
      return;
    }
    const weight = Math.max(0.05, 1 / ++seen);
    const smooth = (before: number, now: number) => before + weight * (now - before);
    seconds = smooth(seconds, record.seconds);
    bits = smooth(bits, record.bits);
    loss = smooth(loss, record.loss);
    progress.update(
      `step ${record.step} of ${steps}  loss ${loss.toFixed(4)}  ${bits.toFixed(3)} bits/dim${heldOut}  ${rateOf(batch / seconds)}  ${duration((steps - record.step) * seconds)} left`,
    );
  };
}
