/** The training loop: interruptions and micro-batches do not affect the result, it learns, and a NaN stops it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { batchSource } from "../data/batches.ts";
import { splitOf } from "../data/dataset.ts";
import { nodeEngine } from "../engine/node.ts";
import { modelParameters } from "../model/parameters.ts";
import { planPass } from "../model/plan.ts";
import { trainingMasks } from "./batches.ts";
import { trainingShare } from "./share.ts";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { startingState, type TrainingState } from "./state.ts";
import { trainingStep } from "./step.ts";
import { detailedDataset, tinyDataset, tinyImages, tinyModel } from "./tiny.ts";
import { train, type TrainingRecord } from "./trainer.ts";
import { firstOf, thorough } from "../test-depth.ts";

const model = tinyModel();
const guided = tinyModel({ guidingPixel: true });
const dataset = tinyDataset();
const engine = await nodeEngine({ threads: 1 });
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-train-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const settings = (given: Partial<TrainingConfig>): TrainingConfig =>
  parseTrainingConfig(
    { steps: 8, batch: 4, microBatch: 4, warmup: 2, evaluateSteps: 4, seed: 5, ...given },
    "the test",
  );

type Measured = Exclude<TrainingRecord, { kind: "checkpoint" }>;

/** The records until the end, or until `until` steps are done. */
async function collect(
  training: TrainingConfig,
  state: TrainingState,
  { until = training.steps, config = model, images = dataset } = {},
): Promise<Measured[]> {
  const records: Measured[] = [];
  const stop = new AbortController();
  const given = { model: config, training, dataset: images, state, signal: stop.signal };
  for await (const record of train(engine, given)) {
    if (record.kind !== "checkpoint") records.push(record);
    if (state.step >= until && record.kind === "step" && until < training.steps) stop.abort();
  }
  return records;
}

const numbersOf = (records: Measured[]) =>
  records.map((record) =>
    record.kind === "step" ? [record.step, record.loss, record.gradientNorm] : [record.step, record.bits],
  );

/** All values as bytes, because vitest takes seconds to compare this many numbers. */
const flat = (values: Map<string, Float32Array>): Buffer =>
  Buffer.concat(
    [...values.values()].map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
  );

describe("an interrupted run", () => {
  const cases: [Partial<TrainingConfig>, typeof model][] = [
    [
      {
        optimizer: "muon",
        codebookStart: "cosine",
        residualStart: "zero",
        innerShare: [0.5, 0.25],
        innerChoice: "detail",
        schedule: "wsd",
      },
      model,
    ],
    [{}, model],
    [{ projectionDropout: 0.2, attentionDropout: 0.1, augment: ["shift", "flip", "hue"], balance: 0.5 }, guided],
  ];

  it.each(firstOf(cases))("resumes with bit-identical losses and weights (%o)", async (given, config) => {
    const training = settings(given);
    const whole = startingState(config, training.seed, training);
    const images = detailedDataset();
    const expected = await collect(training, whole, { config, images });

    const first = startingState(config, training.seed, training);
    const before = await collect(training, first, { until: 3, config, images });
    expect(first.step).toBe(3);
    const checkpoint = join(folder, "interrupted");
    await saveCheckpoint(checkpoint, { model: config, training, dataset: { source: dataset.name }, state: first });
    const resumed = await loadCheckpoint(checkpoint);
    expect(resumed.training).toEqual(training);
    expect(resumed.model).toEqual(config);
    const after = await collect(resumed.training, resumed.state, { config, images });

    expect(numbersOf([...before, ...after])).toEqual(numbersOf(expected));
    expect(flat(resumed.state.values).equals(flat(whole.values))).toBe(true);
    expect(flat(resumed.state.average).equals(flat(whole.average))).toBe(true);
  });
});

const shares: [string, ReturnType<typeof trainingShare>][] = [
  ["weights", trainingShare(settings({ innerShare: [0.5, 0.25], innerChoice: "detail" }), 0)],
  ["all patches", undefined],
];

describe("a step", () => {
  it.each(firstOf(shares))("does not depend on how it is split into micro-batches, with %s", async (_, share) => {
    const training = settings({ batch: 5 });
    const { values } = startingState(guided, 1, { ema: 0 });
    const batch = batchSource(detailedDataset(), training)(0);
    const { rowWeights } = planPass(guided, 5, trainingMasks(1, 0), share?.(guided, batch));
    expect(new Set(rowWeights.at(-1)).size > 1).toBe(share !== undefined);
    const step = await trainingStep(engine, guided);
    const run = async (microBatch: number) => {
      const result = await step.run(values, batch, { masks: trainingMasks(1, 0), share, microBatch });
      return { ...result, gradients: new Map([...step.gradients].map(([name, data]) => [name, data.slice()])) };
    };
    const whole = await run(5);
    for (const microBatch of [1, 2, 4]) {
      const cut = await run(microBatch);
      expect(Math.abs(cut.loss / whole.loss - 1)).toBeLessThan(1e-6);
      expect(Math.abs(cut.bits / whole.bits - 1)).toBeLessThan(1e-6);
      for (const [name, gradient] of whole.gradients) {
        const largest = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 1e-6);
        const error = gradient.reduce((most, g, i) => Math.max(most, Math.abs(g - cut.gradients.get(name)![i])), 0);
        expect(error / largest, name).toBeLessThan(1e-4);
      }
    }
    await step.dispose();
  });
});

it("learns: images of two colours soon cost few bits", async () => {
  const training = settings({ steps: 60, batch: 6, learningRate: 0.01, warmup: 5, ema: 0.9, evaluateSteps: 60 });
  const records = await collect(training, startingState(model, 0, training));
  const [first] = records;
  const last = records.at(-1)!;
  expect(first.bits).toBeGreaterThan(7);
  expect(last.kind).toBe("evaluation");
  expect(last.bits).toBeLessThan(1.5);
});

it.runIf(thorough)(
  "overfits: four images of four classes cost almost no bits after training on nothing else",
  async () => {
    // two colours each, split vertically, horizontally, in stripes and diagonally
    const pattern = (image: number, x: number, y: number) =>
      [x < 4 ? 40 : 200, y < 4 ? 90 : 160, (x >> 1) % 2 ? 10 : 250, x + y < 8 ? 120 : 30][image];
    const at = (i: number) => pattern(Math.floor(i / 192), Math.floor(i / 3) % 8, Math.floor(i / 24) % 8) + 5 * (i % 3);
    const four = splitOf({
      images: Uint8Array.from({ length: 4 * 192 }, (_, i) => at(i)),
      labels: Int32Array.of(0, 1, 2, 3),
      names: ["upright", "lying", "striped", "slanted"],
    });
    const classes = four.names;
    const training = settings({
      steps: 75,
      learningRate: 0.01,
      warmup: 5,
      labelDrop: 0,
      ema: 0,
      evaluateSteps: 1000,
      seed: 1,
    });
    const config = { ...guided, classes };
    const losses: number[] = [];
    const state = startingState(config, 0, training);
    for await (const record of train(engine, {
      model: config,
      training,
      dataset: { ...dataset, classes, train: four },
      state,
    }))
      if (record.kind === "step") losses.push(record.loss);
    expect(losses[0]).toBeGreaterThan(10); // 5.5 nats for a pixel's byte and as many for its guiding pixel's
    expect(Math.max(...losses.slice(-10))).toBeLessThan(1.5);
  },
);

it("averages the weights by its formula, and not at all without a decay", async () => {
  const training = settings({ ema: 0.6, steps: 12 });
  const state = startingState(model, 0, training);
  const expected = new Map([...state.values].map(([name, data]) => [name, Float64Array.from(data)]));
  for await (const { kind, step } of train(engine, { model, training, dataset, state })) {
    if (kind !== "step") continue;
    const decay = Math.min(0.6, step / (9 + step)); // 1/10 after the first step, 2/11 after the second ..
    for (const [name, average] of expected)
      average.forEach((value, i) => (average[i] = decay * value + (1 - decay) * state.values.get(name)![i]));
  }
  let [worst, moved] = [0, 0];
  for (const [name, average] of expected)
    average.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(state.average.get(name)![i] - value));
      moved = Math.max(moved, Math.abs(state.values.get(name)![i] - value));
    });
  expect(worst).toBeLessThan(1e-6);
  expect(moved).toBeGreaterThan(1e-4);
  const none = startingState(model, 0, { ema: 0 });
  expect(none.average).toBe(none.values);
});

it("stops at a NaN with an error that names the step and the tensor", async () => {
  const training = settings({});
  const state = startingState(model, 0, training);
  const { name } = modelParameters(model).find((parameter) => parameter.name.endsWith("fc1.weight"))!;
  state.values.get(name)![0] = Number.NaN;
  await expect(collect(training, state)).rejects.toThrow(`step 1: the loss is NaN and ${name} is no longer finite`);
  const steep = startingState(model, 0, training);
  const run = collect(settings({ learningRate: 1e30, warmup: 0 }), steep);
  await expect(run).rejects.toThrow(
    /at step [23]: the loss is .* and .* is no longer finite; there is no checkpoint yet, so start again with a lower/,
  );
});

it("reports when to save: at intervals, at steps that are kept, at the end and when it is stopped", async () => {
  const kinds = async (given: Partial<TrainingConfig>, stopAfter?: number) => {
    const training = settings({ evaluateSteps: 100, ...given });
    const stop = new AbortController();
    const found: string[] = [];
    const state = startingState(model, 0, training);
    for await (const { kind, step } of train(engine, { model, training, dataset, state, signal: stop.signal })) {
      if (kind !== "step") found.push(`${kind} ${step}`);
      if (step === stopAfter) stop.abort();
    }
    return found;
  };
  expect(await kinds({ steps: 5 })).toEqual(["evaluation 5", "checkpoint 5"]);
  expect(await kinds({ steps: 5, saveSteps: 2 })).toEqual([
    "checkpoint 2",
    "checkpoint 4",
    "evaluation 5",
    "checkpoint 5",
  ]);
  expect(await kinds({ steps: 5, kidSteps: 3 })).toEqual([
    "evaluation 3",
    "checkpoint 3",
    "evaluation 5",
    "checkpoint 5",
  ]);
  expect(await kinds({ steps: 2, checkpointSeconds: 1e-9 })).toEqual([
    "evaluation 1",
    "checkpoint 1",
    "evaluation 2",
    "checkpoint 2",
  ]);
  expect(await kinds({ steps: 9 }, 3)).toEqual(["checkpoint 3"]);
});

it("evaluates some of the held-out images during training and all at the end, regardless of the micro-batch", async () => {
  const many = { ...dataset, heldOut: splitOf(tinyImages(7)) };
  const evaluations = async (microBatch: number) => {
    const training = settings({ steps: 2, evaluateSteps: 1, evaluateImages: 3, microBatch });
    const found: [number, number][] = [];
    const state = startingState(model, 0, training);
    for await (const record of train(engine, { model, training, dataset: many, state }))
      if (record.kind === "evaluation") found.push([record.images, record.bits]);
    return found;
  };
  const [one, other] = [await evaluations(1), await evaluations(4)];
  expect(one.map(([images]) => images)).toEqual([3, 7]);
  one.forEach(([, bits], i) => expect(Math.abs(other[i][1] / bits - 1)).toBeLessThan(1e-5));
});

it("rejects data that do not fit the model", async () => {
  const training = settings({});
  const run = train(engine, {
    model,
    training,
    dataset: { ...dataset, size: 16 },
    state: startingState(model, 0, training),
  });
  await expect(run.next()).rejects.toThrow("16x16");
});
