/** The work of `fractalgen train`: opens the data and the run, and reports progress and the outcome. */

import { join } from "node:path";
import { counted, parameterCount } from "../core/counted.ts";
import { duration } from "../core/duration.ts";
import type { Dataset } from "../data/dataset.ts";
import { openDataset } from "../data/open.ts";
import type { Engine } from "../engine/engine.ts";
import { reportLines } from "../data/report.ts";
import { freeGpuMemory } from "../files/gpu-memory.ts";
import { own } from "../files/ownership.ts";
import { beginning, runFolder } from "../runs/begin.ts";
import type { RunOptions } from "../runs/options.ts";
import { checkSame, type Prepared, settle } from "../runs/settle.ts";
import { type RunContext, trainRun } from "../runs/train.ts";
import { openEngine } from "./engine.ts";
import { findModel } from "./models.ts";
import { checkFolder } from "./outputs.ts";
import { checkQueue } from "./queue-options.ts";
import { openReplicas, startedAgain } from "./train-replicas.ts";
import { referenceTable } from "./reference-table.ts";
import { type Running, withProgress } from "./running.ts";
import type { TrainFlags } from "./train-flags.ts";
import { type Report, reporter } from "./train-report.ts";

export async function runTraining(given: TrainFlags): Promise<void> {
  checkQueue(given);
  const asked = startedAgain(given);
  const { initFrom, ...flags } = asked;
  checkFolder(flags.cache, { option: "--cache" });
  if (flags.out !== undefined && flags.resume === undefined) checkFolder(flags.out, { option: "--out" });
  const subject = { setting: "initFrom" };
  const initial = initFrom && (await Promise.all(initFrom.map((name) => findModel(name, { subject }))));
  const options: RunOptions = { ...flags, initFrom: initial };
  const out = runFolder(options);
  let ready = false;
  const onStop = () => {
    if (ready) console.error("stopping after this step; Ctrl-C again stops at once, without a checkpoint");
  };
  await withProgress({ quiet: flags.json, onStop }, async (running) => {
    const { progress, signal, closing } = running;
    // Claim the folder before reading from it: another process may be about to save.
    const owned = closing(await own(out, { inside: true, signal }), ({ release }) => release());
    const begun = await beginning(options);
    const opened = await openDataset(begun.data.source, {
      ...begun.data,
      cache: flags.cache,
      signal,
      onProgress: (at, total) => progress.update(`decoding images: ${at} of ${total}`),
    });
    progress.clear();
    const dataset = begun.resumed ? checkSame(begun, opened) : opened;
    const engine = await openEngine(flags);
    const gpuMemory = engine.provider === "cpu" || flags.queue !== undefined ? undefined : freeGpuMemory();
    const prepared = await settle(begun, dataset, { ...options, gpuMemory });
    const { step } = prepared.state;
    if (step >= prepared.training.steps) {
      console.error(
        `the run is complete: ${step} of ${counted(prepared.training.steps, "step")}. To continue it, set a higher total, such as --steps ${2 * step}`,
      );
      return;
    }
    for (const note of prepared.notes) console.error(note);
    if (!flags.json) describe(dataset, prepared, engine);
    const onReady = () => void (ready = true);
    const resumes = prepared.state === begun.resumed?.state;
    const report = reporter(prepared.training, progress);
    const replicas = await openReplicas(asked, { ...prepared, dataset, out, resumes }, { ...running, report });
    const context = { ...flags, ...replicas, out, owned, dataset, onReady, signal };
    await trainAndTell(engine, flags, prepared, { ...context, running, report });
  });
}

async function trainAndTell(
  engine: Engine,
  flags: Pick<TrainFlags, "json">,
  prepared: Prepared,
  { running: { progress, signal, exitCode }, report, ...context }: RunContext & { running: Running; report: Report },
): Promise<void> {
  const { training, state } = prepared;
  const { out, onReady } = context;
  const records = trainRun(engine, prepared, {
    ...context,
    onProgress: progress.update,
    onReady(references) {
      onReady?.(references);
      progress.clear();
      if (!flags.json) console.error(referenceTable(references));
    },
    onRecord: (record) => flags.json && console.log(JSON.stringify(record)),
    signal,
  });
  for await (const record of records) report(record);
  progress.clear();
  const steps = counted(training.steps, "step");
  if (state.step < training.steps) {
    console.error(`stopped after ${state.step} of ${steps}; resume with: fractalgen train --resume ${out}`);
    process.exitCode = exitCode();
  } else console.error(`done: ${counted(state.step, "step")}; try the model with: fractalgen sample --model ${out}`);
  if (!flags.json) console.log(join(out, "last"));
}

/** Prints the data, the model and the settings before training starts, which may take hours. */
function describe(dataset: Dataset, prepared: Prepared, { provider }: Engine): void {
  const { model, training } = prepared;
  for (const line of reportLines(dataset)) console.error(line);
  const { replicas } = training;
  const epochs = (training.steps * training.batch * replicas) / dataset.train.count;
  console.error(
    `${model.name ?? "model"}: ${parameterCount(prepared.parameters)}; ${counted(training.steps, "step")} of ${counted(training.batch, "image")} (${epochs < 0.05 ? "under 0.1" : epochs.toFixed(epochs < 10 ? 1 : 0)} epochs), ${training.microBatch} at a time${provider === "cpu" ? " in each thread" : ""}${training.checkpointing ? ", with checkpointing" : ""}${replicas > 1 ? `; ${replicas} replicas` : ""}; a checkpoint every ${duration(training.checkpointSeconds)}`,
  );
}
