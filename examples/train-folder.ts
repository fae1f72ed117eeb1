/** Trains on a folder of pictures (a folder for each class, or none): node --import tsx examples/train-folder.ts FOLDER OUT */

import {
  dataRecord,
  loadCheckpoint,
  nodeEngine,
  openDataset,
  parseModelConfig,
  parseTrainingConfig,
} from "../src/index.ts";
import { parallelTrainingStep, presetFor, saveCheckpoint, startingState, train } from "../src/index.ts";

const [folder, out, steps] = process.argv.slice(2);
const dataset = await openDataset(folder, { cache: `${out}/cache` });
const preset = presetFor({ size: "tiny" }, { imageSize: dataset.size, channels: dataset.channels });
const model = parseModelConfig({ ...preset.model, classes: dataset.classes }, "the model");
const training = parseTrainingConfig({ ...preset.training, steps: Number(steps ?? 1000) }, "the settings");
const state = startingState(model, training.seed, training);
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

const step = await parallelTrainingStep(model, training);
for await (const record of train(await nodeEngine(), { model, training, dataset, state, step, signal: stop.signal })) {
  if (record.kind === "step") console.log(`step ${record.step}: ${record.bits.toFixed(3)} bits per dimension`);
  if (record.kind === "checkpoint")
    await saveCheckpoint(`${out}/last`, { model, training, dataset: dataRecord(dataset), state });
}
await step.dispose();
console.log(`${(await loadCheckpoint(`${out}/last`)).state.step} steps; fractalgen sample --model ${out}`);
