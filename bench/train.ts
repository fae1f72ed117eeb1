/** `npm run bench -- train`: seconds per step, the rate relative to a plain matrix product, memory, and a profile. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelConfig, parseModelConfig } from "../src/config/model.ts";
import { emojiPresetFor } from "../src/config/presets.ts";
import { publishedPreset } from "../src/config/published.ts";
import { parseTrainingConfig } from "../src/config/training.ts";
import { type Dataset, splitOf } from "../src/data/dataset.ts";
import { emojiClasses } from "../src/data/emoji-classes.ts";
import { nodeEngine } from "../src/engine/node.ts";
import { readJson } from "../src/files/model.ts";
import { trainingMasks } from "../src/train/batches.ts";
import { startingState } from "../src/train/state.ts";
import { boundSizes, floatingPointOperations } from "../src/graph/cost.ts";
import { named } from "../src/graph/tree.ts";
import { type Batch, inGroups, type Masks, planPass, type Share } from "../src/model/plan.ts";
import { trainingParts } from "../src/model/training.ts";
import { hostLearner } from "../src/train/learner.ts";
import { trainingBytes } from "../src/train/memory.ts";
import { optimizerOperations } from "../src/train/optimizer.ts";
import { trainingShare } from "../src/train/share.ts";
import { groupSize, type TrainingStep, trainingStep } from "../src/train/step.ts";
import { train } from "../src/train/trainer.ts";
import { lanesFor, parallelTrainingStep } from "../src/workers/training.ts";
import { median, plainProduct } from "./engine.ts";

export interface TrainBench {
  config?: string;
  preset?: string;
  checkpointing?: boolean;
  batch?: number;
  microBatch?: number;
  threads?: number;
  rounds: number;
  json?: boolean;
  profile?: boolean;
}

export async function benchTrain({ preset, ...options }: TrainBench): Promise<void> {
  if (preset === undefined) await benchSteps(options);
  else await benchPublished(preset, options);
}

async function benchSteps({
  config: file,
  checkpointing = false,
  batch,
  microBatch,
  threads,
  rounds,
  json,
  profile,
}: Omit<TrainBench, "preset">): Promise<void> {
  const given = file ? (readJson(file) as { model?: object; training?: object }) : {};
  const preset = emojiPresetFor({}, { imageSize: 32 });
  const source = file ?? "the preset";
  const model = parseModelConfig({ ...preset.model, classes: [...emojiClasses], ...given.model }, source);
  const asked = { ...(batch && { batch }), ...(microBatch && { microBatch }), checkpointing };
  const training = parseTrainingConfig({ ...preset.training, ...given.training, ...asked }, source);
  const { batch: images, microBatch: micro } = training;
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-bench-"));
  const cores = threads ?? availableParallelism();
  const engine = await nodeEngine({ threads: cores });
  const product = await plainProduct(engine);
  const step = await parallelTrainingStep(model, { ...training, threads: cores });
  const state = startingState(model, 0, training);
  const { values } = state;
  const data = noise(model, images);
  const seconds: number[] = [];
  const ofGradients: number[] = [];
  const timed: TrainingStep = {
    ...step,
    async run(...given) {
      const started = performance.now();
      const result = await step.run(...given);
      ofGradients.push((performance.now() - started) / 1000);
      return result;
    },
  };
  const onNotFinite = () => new Error("the loss is not finite");
  const learner = await hostLearner(engine, timed, { model, training, state, onNotFinite });
  const rates: number[] = [];
  const warmUp = 2;
  for (let round = 0; round < rounds + warmUp; round++) {
    rates.push(await product());
    const started = performance.now();
    await learner.learn(() => data, round);
    seconds.push((performance.now() - started) / 1000);
  }
  await learner.dispose();
  await step.dispose();
  const time = median(seconds.slice(warmUp));
  const { seed } = training;
  const operations =
    optimizerOperations(model, training) +
    median(
      Array.from({ length: rounds }, (_, i) => {
        const share = trainingShare(training, warmUp + i)?.(model, data);
        return stepOperations(model, images, trainingMasks(seed, warmUp + i, training), { share });
      }),
    );
  const plain = median(rates);
  const result = {
    parameters: [...values.values()].reduce((sum, value) => sum + value.length, 0),
    batch: images,
    microBatch: micro,
    secondsPerStep: time,
    secondsOfGradients: median(ofGradients.slice(warmUp)),
    imagesPerSecond: images / time,
    gigaflopPerStep: operations / 1e9,
    gigaflopPerSecond: operations / time / 1e9,
    plainProductGigaflopPerSecond: plain,
    share: operations / time / 1e9 / plain,
    peakMemoryGB: process.resourceUsage().maxRSS / 1e6,
  };
  const shares = profile ? await profileOf(model, values, { data, micro, folder }) : [];
  if (json) console.log(JSON.stringify({ ...result, profile: shares }));
  else {
    console.log(
      `training: ${(result.parameters / 1e6).toFixed(2)}M parameters, batch ${images} in micro-batches of ${micro}`,
    );
    console.log(
      `  ${time.toFixed(3)} s per step (median of ${rounds}), of which the optimiser and the moving average take ${(time - result.secondsOfGradients).toFixed(3)} s; ${result.imagesPerSecond.toFixed(1)} images/s, peak memory ${result.peakMemoryGB.toFixed(2)} GB`,
    );
    console.log(
      `  ${result.gigaflopPerStep.toFixed(0)} GFLOP per step, ${result.gigaflopPerSecond.toFixed(0)} GFLOP/s, ${(100 * result.share).toFixed(0)}% of a plain product's ${plain.toFixed(0)} in the same run`,
    );
    for (const { operation, share } of shares.slice(0, 15))
      console.log(`  ${operation.padEnd(20)} ${(100 * share).toFixed(1).padStart(5)}%`);
  }
  rmSync(folder, { recursive: true, force: true });
}

/** Arbitrary bytes: the time does not depend on them. */
export function noise({ imageSize, channels, classes }: ModelConfig, images: number): Batch {
  const bytes = imageSize ** 2 * channels;
  return {
    images: Uint8Array.from({ length: images * bytes }, (_, i) => (i * 2654435761) >>> 24),
    labels: Int32Array.from({ length: images }, (_, i) => i % classes.length),
  };
}

/** Complete steps with the optimiser, and a held-out likelihood at the end, for a model that barely fits in memory. */
async function benchPublished(
  preset: string,
  { checkpointing = false, batch = 1, microBatch = 1, threads, rounds, json }: Omit<TrainBench, "preset">,
): Promise<void> {
  const model = publishedPreset(preset);
  const settings = { steps: rounds, evaluateSteps: rounds, batch, microBatch, checkpointing, threads, ema: 0 };
  const training = parseTrainingConfig(settings, "the benchmark");
  const split = (images: number) =>
    splitOf({ ...noise(model, images), names: Array.from({ length: images }, (_, i) => `noise ${i}`) });
  const { imageSize: size, channels, classes } = model;
  const told = { name: "noise", source: "noise", fingerprint: "noise", skipped: [], notes: [] };
  const dataset: Dataset = { ...told, size, channels, classes, train: split(batch), heldOut: split(1) };
  const state = startingState(model, 0, training);
  const engine = await nodeEngine({ threads });
  const step = await parallelTrainingStep(model, training);
  const seconds: number[] = [];
  const memory = { afterSteps: 0, atTheEnd: 0 };
  let started = performance.now();
  let evaluation = 0;
  for await (const record of train(engine, { model, training, dataset, state, step })) {
    if (record.kind === "evaluation") evaluation = (performance.now() - started) / 1000;
    if (record.kind !== "step") continue;
    seconds.push(record.seconds);
    memory.afterSteps = process.resourceUsage().maxRSS / 1e6;
    started = performance.now();
  }
  await step.dispose();
  memory.atTheEnd = process.resourceUsage().maxRSS / 1e6;
  const parameters = [...state.values.values()].reduce((sum, value) => sum + value.length, 0);
  const counted = trainingBytes(model, microBatch, { ...training, lanes: lanesFor(model, threads) }) / 1e9;
  if (json) {
    console.log(JSON.stringify({ preset, parameters, checkpointing, batch, microBatch, seconds, evaluation, memory, counted })); // prettier-ignore
    return;
  }
  console.log(
    `training ${preset}: ${(parameters / 1e6).toFixed(0)}M parameters, batch ${batch} in micro-batches of ${microBatch}${checkpointing ? ", checkpointing" : ""}`,
  );
  console.log(
    `  ${seconds.map((s) => s.toFixed(1)).join(", ")} s per step; held-out likelihood ${evaluation.toFixed(1)} s per image`,
  );
  console.log(
    `  peak memory ${memory.afterSteps.toFixed(2)} GB in steps, ${memory.atTheEnd.toFixed(2)} GB with the likelihood, ${counted.toFixed(2)} GB estimated in advance`,
  );
}

/** Floating-point operations of the gradients with these masks; without `group` of the graph without a loop. */
export function stepOperations(
  model: ModelConfig,
  images: number,
  masks: Masks,
  { loop = true, share }: { loop?: boolean; share?: Share } = {},
): number {
  const [{ backward }] = trainingParts(model, { loop });
  const graph = named(backward);
  const plan = planPass(model, images, masks, share);
  const shapes = Object.fromEntries(
    Object.entries(named(inGroups(model, plan, loop ? groupSize(model) : undefined))).map(([name, { shape }]) => [
      name,
      shape,
    ]),
  );
  shapes["images"] = [images, model.imageSize, model.imageSize, model.channels];
  return floatingPointOperations(graph, boundSizes(graph, shapes));
}

interface ProfileEvent {
  cat?: string;
  name: string;
  dur: number;
  args?: { op_name?: string };
}

/** Share of time by operation, from onnxruntime's profile of two single-threaded steps. */
async function profileOf(
  model: ModelConfig,
  values: ReadonlyMap<string, Float32Array>,
  { data, micro, folder }: { data: Batch; micro: number; folder: string },
): Promise<{ operation: string; share: number }[]> {
  const step = await trainingStep(await nodeEngine({ threads: 1, profile: join(folder, "profile") }), model);
  for (let round = 0; round < 2; round++)
    await step.run(values, data, { masks: trainingMasks(0, round), microBatch: micro });
  await step.dispose();
  const totals = new Map<string, number>();
  for (const file of readdirSync(folder).filter((name) => name.startsWith("profile")))
    for (const { cat, name, dur, args } of JSON.parse(readFileSync(join(folder, file), "utf8")) as ProfileEvent[])
      if (cat === "Node" && name.endsWith("_kernel_time") && args?.op_name && args.op_name !== "Loop")
        // the nodes in its body are counted
        totals.set(args.op_name, (totals.get(args.op_name) ?? 0) + dur);
  const all = [...totals.values()].reduce((a, b) => a + b, 0);
  return [...totals].toSorted((x, y) => y[1] - x[1]).map(([operation, time]) => ({ operation, share: time / all }));
}
