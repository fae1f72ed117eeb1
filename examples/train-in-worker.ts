/**
 * Trains inside a worker thread, so that a server or a window stays responsive. Ctrl-C stops it with a checkpoint:
 * node --import tsx examples/train-in-worker.ts FOLDER OUT
 */

import { isMainThread, parentPort, workerData } from "node:worker_threads";
import {
  dataRecord,
  disableTelemetry,
  GatedWorker,
  nodeEngine,
  openDataset,
  parseModelConfig,
  parseTrainingConfig,
} from "../src/index.ts";
import { presetFor, saveCheckpoint, startingState, train, type TrainingRecord } from "../src/index.ts";

if (isMainThread) await watch(process.argv.slice(2));
else await work(workerData);

async function watch([folder, out, steps]: string[]): Promise<void> {
  disableTelemetry(); // a worker cannot do it itself
  const tsx = import.meta.resolve("tsx/esm/api");
  const start = `import("${tsx}").then(({ register }) => (register(), import("${import.meta.url}")))`;
  const worker = new GatedWorker(start, { eval: true, workerData: { folder, out, steps: Number(steps ?? 1000) } });
  worker.on("message", (record: TrainingRecord) => console.log(JSON.stringify(record)));
  // A message lets it save before it ends; terminating it would lose the steps since its last checkpoint.
  process.once("SIGINT", () => worker.postMessage("stop"));
  await new Promise((resolve) => worker.once("exit", resolve));
}

async function work({ folder, out, steps }: { folder: string; out: string; steps: number }): Promise<void> {
  const stop = new AbortController();
  parentPort!.once("message", () => stop.abort());
  const dataset = await openDataset(folder, { cache: `${out}/cache`, signal: stop.signal });
  const preset = presetFor({ size: "tiny" }, { imageSize: dataset.size, channels: dataset.channels });
  const model = parseModelConfig({ ...preset.model, classes: dataset.classes }, "the model");
  const training = parseTrainingConfig({ ...preset.training, steps }, "the settings");
  const state = startingState(model, training.seed, training);
  for await (const record of train(await nodeEngine(), { model, training, dataset, state, signal: stop.signal })) {
    parentPort!.postMessage(record);
    if (record.kind === "checkpoint")
      await saveCheckpoint(`${out}/last`, { model, training, dataset: dataRecord(dataset), state });
    await new Promise(setImmediate); // lets the message arrive
  }
  parentPort!.close();
}
