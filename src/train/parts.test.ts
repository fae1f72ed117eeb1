/** AdamW against its formula in double precision, the schedule, batches and masks against what they promise. */

import { describe, expect, it } from "vitest";
import { learningRateAt, parseTrainingConfig } from "../config/training.ts";
import { adamw, clipScale, globalNorm } from "./adamw.ts";
import { batchSource, evaluationMasks, trainingMasks } from "./batches.ts";
import { tinyDataset } from "./tiny.ts";

it.each([0, 0.05])("AdamW with weight decay %s", (weightDecay) => {
  const options = { learningRate: 0.01, betas: [0.9, 0.95], eps: 1e-8, weightDecay } as const;
  const value = Float32Array.of(1, -2, 0.5);
  const moments = { first: new Float32Array(3), second: new Float32Array(3) };
  let [p, m, v] = [
    [1, -2, 0.5],
    [0, 0, 0],
    [0, 0, 0],
  ];
  for (let step = 1; step <= 5; step++) {
    const gradient = Float32Array.of(0.3 * step, -0.1, 2 / step);
    adamw(value, gradient, moments, options, { step, scale: 0.5 });
    const g = [...gradient].map((x) => x * 0.5);
    m = m.map((x, i) => 0.9 * x + 0.1 * g[i]);
    v = v.map((x, i) => 0.95 * x + 0.05 * g[i] ** 2);
    p = p.map(
      (x, i) =>
        x * (1 - 0.01 * weightDecay) -
        (0.01 * (m[i] / (1 - 0.9 ** step))) / (Math.sqrt(v[i] / (1 - 0.95 ** step)) + 1e-8),
    );
  }
  p.forEach((expected, i) => expect(value[i]).toBeCloseTo(expected, 6));
});

it("clips by the norm of all gradients together", () => {
  expect(globalNorm([Float32Array.of(3), Float32Array.of(0, 4)])).toBe(5);
  expect(clipScale(5, 3)).toBeCloseTo(0.6, 6);
  expect(clipScale(2, 3)).toBe(1);
});

describe("the learning rate", () => {
  const config = (schedule: "cosine" | "constant") =>
    parseTrainingConfig({ steps: 110, warmup: 10, learningRate: 1, minLearningRate: 0.1, schedule }, "the test");
  it("warms up in a line", () =>
    expect([0, 4, 9].map((step) => learningRateAt(step, config("cosine")))).toEqual([0.1, 0.5, 1]));
  it("follows half a cosine down to the least", () => {
    expect(learningRateAt(10, config("cosine"))).toBe(1);
    expect(learningRateAt(60, config("cosine"))).toBeCloseTo(0.55, 9);
    expect(learningRateAt(110, config("cosine"))).toBeCloseTo(0.1, 9);
  });
  it("or stays", () => expect(learningRateAt(100, config("constant"))).toBe(1));
});

describe("batches", () => {
  const dataset = tinyDataset();
  // Each image is marked by its first byte, so that batches can be told apart.
  for (let i = 0; i < dataset.train.count; i++) dataset.train.images[i * 192] = i;
  const source = (given: object) =>
    batchSource(dataset, parseTrainingConfig({ batch: 3, labelDrop: 0, seed: 2, ...given }, "the test"));
  const firsts = (step: number, given = {}) => {
    const { images } = source(given)(step);
    return [0, 1, 2].map((i) => images[i * 192]);
  };
  it("show every image once in an epoch, in another order each", () => {
    const epochs = [0, 1, 2, 3].map((epoch) => [...firsts(2 * epoch), ...firsts(2 * epoch + 1)]);
    for (const epoch of epochs) expect(epoch.toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(new Set(epochs.map(String)).size).toBeGreaterThan(1);
  });
  it("depend on seed and step alone", () => {
    const one = source({});
    one(7);
    expect(one(3)).toEqual(source({})(3));
    expect(firsts(3, { seed: 3 }).concat(firsts(4, { seed: 3 }))).not.toEqual(firsts(3).concat(firsts(4)));
  });
  it("drop labels at their rate", () => {
    const drawn = Array.from({ length: 400 }, (_, step) => [...source({ labelDrop: 0.25 })(step).labels]).flat();
    const dropped = drawn.filter((label) => label === 2).length / drawn.length;
    expect(Math.abs(dropped - 0.25)).toBeLessThan(0.04);
  });
  it("weigh classes by their size to the power -balance", () => {
    const uneven = tinyDataset();
    uneven.train.labels.set([0, 0, 0, 0, 0, 1]);
    const draw = batchSource(uneven, parseTrainingConfig({ batch: 4, labelDrop: 0, balance: 1 }, "the test"));
    const drawn = Array.from({ length: 300 }, (_, step) => [...draw(step).labels]).flat();
    const light = drawn.filter((label) => label === 1).length / drawn.length;
    expect(Math.abs(light - 0.5)).toBeLessThan(0.05);
  });
  it("mirror half of the images left to right where asked to", () => {
    const { images } = source({ flip: true, batch: 1 })(0);
    const mirrored = Array.from({ length: 40 }, (_, step) => source({ flip: true, batch: 1 })(step).images).filter(
      (image) => image[0] !== image[3] || image[7 * 3] !== image[6 * 3],
    );
    expect(images.length).toBe(192);
    const marksRight = mirrored.filter((image) => image[7 * 3] !== image[6 * 3]).length;
    expect(marksRight).toBeGreaterThan(5);
    expect(marksRight).toBeLessThan(35);
  });
});

describe("masks", () => {
  const rows = (count: number) => ({
    image: new Int32Array(count),
    place: Int32Array.from({ length: count }, (_, i) => i),
  });
  const counts = (masks: Uint8Array, tokens: number) =>
    Array.from({ length: masks.length / tokens }, (_, row) =>
      masks.subarray(row * tokens, (row + 1) * tokens).reduce((a, b) => a + b, 0),
    );
  it("of training cover a normal(1, 0.25) share truncated to [0, 1], rounded up", () => {
    const drawn = counts(trainingMasks(1, 0)(0, rows(20_000), 64), 64);
    const mean = drawn.reduce((a, b) => a + b, 0) / drawn.length;
    // E[rate] = 1 - 0.25 sqrt(2 / pi); rounding up adds half a patch on average
    expect(Math.abs(mean - (64 * (1 - 0.25 * Math.sqrt(2 / Math.PI)) + 0.5))).toBeLessThan(0.4);
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...drawn)).toBe(64);
    // P(rate > 0.75) = P(|z| < 1)
    expect(Math.abs(drawn.filter((count) => count > 48).length / drawn.length - 0.6827)).toBeLessThan(0.02);
  });
  it("of evaluation cover 1 to all patches, each count alike", () => {
    const drawn = counts(evaluationMasks(1, 0)(0, rows(16_000), 16), 16);
    for (let count = 1; count <= 16; count++)
      expect(Math.abs(drawn.filter((one) => one === count).length / 1000 - 1)).toBeLessThan(0.15);
  });
  it("are the same for the same seed and step, and no others", () => {
    expect(trainingMasks(1, 2)(0, rows(8), 16)).toEqual(trainingMasks(1, 2)(0, rows(8), 16));
    expect(trainingMasks(1, 3)(0, rows(8), 16)).not.toEqual(trainingMasks(1, 2)(0, rows(8), 16));
    expect(trainingMasks(1, 2)(1, rows(8), 16)).not.toEqual(trainingMasks(1, 2)(0, rows(8), 16));
  });
});
