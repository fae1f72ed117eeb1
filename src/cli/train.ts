/** `fractalgen train`: trains a model, with checkpoints, a log and progress; stops and resumes without loss. */

import { appendFileSync, existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { emojiPreset } from "../config/presets.ts";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import { emojiDataset } from "../data/emoji.ts";
import type { Provider } from "../engine/engine.ts";
import { readJson } from "../files/model.ts";
import { loadCheckpoint, type Resumed, saveCheckpoint, startingState } from "../train/checkpoint.ts";
import { train, type TrainingRecord } from "../train/trainer.ts";
import { deviceOption, openEngine, threadsOption } from "./engine.ts";
import { duration, interruptible, progressOn } from "./progress.ts";
import { number, whole } from "./values.ts";

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

export function addTrain(program: Command): void {
  program
    .command("train")
    .description("train a model")
    .option("--data <name>", "what to train on: emoji (rendered from npm packages)")
    .option("--out <dir>", "the folder for checkpoints and the log")
    .option("--resume <dir>", "go on from the last checkpoint of a run, with its settings")
    .option("--config <file>", 'JSON with "model" and "training", each as far as it differs from the preset')
    .option("--steps <n>", "optimiser steps", whole({ least: 1 }))
    .option("--batch <n>", "images per step", whole({ least: 1, most: 65536 }))
    .option("--micro-batch <n>", "images per run of the graph; the result does not depend on it", whole({ least: 1 }))
    .option("--learning-rate <x>", "peak learning rate", number({ least: 0 }))
    .option("--warmup <n>", "steps of linear warm-up", whole({ least: 0 }))
    .option("--schedule <name>", "cosine or constant")
    .option("--ema <x>", "decay of the moving average of the weights, 0 for none", number({ least: 0, most: 0.999999 }))
    .option("--label-drop <p>", "share of labels dropped to the null class", number({ least: 0, most: 1 }))
    .option("--attention-dropout <p>", "dropout on attention", number({ least: 0, most: 0.99 }))
    .option("--projection-dropout <p>", "dropout on projections", number({ least: 0, most: 0.99 }))
    .option("--balance <x>", "0: images alike, 1: classes alike", number({ least: 0, most: 1 }))
    .option("--flip", "flip half of the images")
    .option("--seed <n>", "of weights, order and draws", whole({ least: 0 }))
    .option("--evaluate-steps <n>", "steps between held-out likelihoods", whole({ least: 1 }))
    .option("--checkpoint-seconds <s>", "seconds between checkpoints", number({ least: 0.1 }))
    .option("--cache <dir>", "where decoded data sets are kept", join(defaultCache, "fractalgen"))
    .option("--json", "print the log's records as lines of JSON, no progress")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen train --data emoji --out runs/emoji\n  fractalgen train --resume runs/emoji\n  fractalgen sample --model runs/emoji",
    )
    .action(runTraining);
}

async function runTraining(flags: TrainFlags): Promise<void> {
  const out = flags.resume ?? flags.out;
  if (!out) throw new UserError("train needs --out DIR for its checkpoints (or --resume DIR to go on with a run)");
  const resumed = flags.resume ? await loadCheckpoint(join(flags.resume, "last")) : undefined;
  if (!resumed && existsSync(join(out, "last")))
    throw new UserError(`${out} already holds a run; go on with it by --resume ${out}, or give another --out`);
  const progress = progressOn(process.stderr, { quiet: flags.json });
  const dataset = await openData(resumed?.dataset ?? flags.data, flags, (line) => progress.update(line));
  const { model, training, state } = resumed ? continued(resumed, flags) : fresh(flags, dataset);

  mkdirSync(out, { recursive: true });
  const engine = await openEngine(flags);
  const { signal, done } = interruptible();
  const save = () => saveCheckpoint(join(out, "last"), { model, training, dataset: dataset.name, state });
  const report = reporter(training, progress);
  let saved = performance.now();
  let unsaved = true;
  try {
    for await (const record of train(engine, { model, training, dataset, state, signal })) {
      appendFileSync(join(out, "log.jsonl"), `${JSON.stringify(record)}\n`);
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
  if (!flags.json) {
    console.error(
      signal.aborted
        ? `stopped after ${state.step} of ${training.steps} steps; go on with: fractalgen train --resume ${out}`
        : `done: ${state.step} steps`,
    );
    console.log(join(out, "last"));
  }
}

async function openData(name: string | undefined, { cache }: TrainFlags, say: (line: string) => void): Promise<Dataset> {
  if (!name) throw new UserError("train needs --data; the built-in set is: emoji");
  if (name !== "emoji") throw new UserError(`there is no data set "${name}"; the built-in set is: emoji${didYouMean(name, ["emoji"])}`);
  return emojiDataset({
    size: emojiPreset.model.imageSize,
    cache,
    onProgress: (at, total) => say(`rendering emoji: ${at} of ${total}`),
  });
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

const given = (flags: TrainFlags): Partial<TrainingConfig> =>
  Object.fromEntries(settingNames.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]])));

function fresh(flags: TrainFlags, dataset: Dataset) {
  const file = flags.config ? (readJson(flags.config) as { model?: object; training?: object }) : {};
  const unknown = Object.keys(file).find((key) => key !== "model" && key !== "training");
  if (unknown) throw new UserError(`${flags.config}: an unknown key "${unknown}", expected "model" and "training"`);
  const source = flags.config ?? "the preset";
  const model: ModelConfig = parseModelConfig({ ...emojiPreset.model, classes: dataset.classes, ...file.model }, source);
  const training = parseTrainingConfig({ ...emojiPreset.training, ...file.training, ...given(flags) }, source);
  return { model, training, state: startingState(model, training.seed, training) };
}

/** A resumed run keeps its settings but for what does not change the steps already taken. */
function continued({ model, training, state }: Resumed, flags: TrainFlags) {
  const changes = given(flags);
  const fixed = ["seed", "batch", "ema"] as const;
  for (const name of fixed)
    if (changes[name] !== undefined && changes[name] !== training[name])
      throw new UserError(`the run was started with ${name} ${training[name]} and cannot go on with ${changes[name]}; leave it out, or start anew with another --out`);
  return { model, training: parseTrainingConfig({ ...training, ...changes }, "the options"), state };
}

/** Progress with loss, bits per dimension, rate and time left, smoothed over the last steps. */
function reporter({ batch, steps }: TrainingConfig, progress: { update(line: string): void }): (record: TrainingRecord) => void {
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
      `step ${record.step} of ${steps}  loss ${loss.toFixed(4)}  ${bits.toFixed(3)} bits/dim${heldOut}  ${(batch / seconds).toFixed(1)} images/s  ${duration((steps - record.step) * seconds)} left`,
    );
  };
}
