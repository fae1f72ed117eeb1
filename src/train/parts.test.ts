/** Tests of the learning rate schedule, batches and masks. */

import { describe, expect, it } from "vitest";
import { learningRateAt, parseTrainingConfig } from "../config/training.ts";
import { batchSource } from "../data/batches.ts";
import { splitOf } from "../data/dataset.ts";
import { trainingMasks } from "./batches.ts";
import { tinyDataset, tinyImages } from "./tiny.ts";

describe("the learning rate", () => {
  const config = (schedule: "cosine" | "constant") =>
    parseTrainingConfig({ steps: 110, warmup: 10, learningRate: 1, minLearningRate: 0.1, schedule }, "the test");
  it("warms up linearly", () =>
    expect([0, 4, 9].map((step) => learningRateAt(step, config("cosine")))).toEqual([0.1, 0.5, 1]));
  it("follows half a cosine down to the minimum", () => {
    expect(learningRateAt(10, config("cosine"))).toBe(1);
    expect(learningRateAt(60, config("cosine"))).toBeCloseTo(0.55, 9);
    expect(learningRateAt(110, config("cosine"))).toBeCloseTo(0.1, 9);
  });
  it("starts at the full rate without a warm-up, and never leaves its bounds", () => {
    const without = parseTrainingConfig({ steps: 4, warmup: 0, learningRate: 1, minLearningRate: 0.1 }, "the test");
    expect(learningRateAt(0, without)).toBe(1);
    for (const warmup of [0, 3, 4, 9])
      for (let step = 0; step < 12; step++) {
        const rate = learningRateAt(step, { ...without, warmup });
        expect(rate).toBeGreaterThan(0.09);
        expect(rate).toBeLessThanOrEqual(1);
      }
    expect(learningRateAt(1000, without)).toBeCloseTo(0.1, 9);
  });
  it("wsd: stays constant, then decays linearly over the last share of the steps", () => {
    const wsd = {
      ...config("constant"),
      schedule: "wsd" as const,
      steps: 100,
      decayShare: 0.2,
      minLearningRate: 0,
      warmup: 10,
    };
    expect([10, 50, 80, 90, 99].map((step) => learningRateAt(step, wsd))).toEqual([1, 1, 1, 0.5, 0.05]);
    // Before the decay, the rates do not depend on the length of the run, so a longer run starts identically.
    const longer = { ...wsd, steps: 200 };
    for (let step = 0; step < 80; step++) expect(learningRateAt(step, longer)).toBe(learningRateAt(step, wsd));
  });
  it("constant: stays the same", () => expect(learningRateAt(100, config("constant"))).toBe(1));
});

describe("batches", () => {
  // Each image is marked by its first byte, which identifies it in batches.
  const marked = (labels: number[]) => {
    const tiny = tinyImages(labels.length);
    for (let i = 0; i < labels.length; i++) tiny.images[i * 192] = i;
    return { ...tinyDataset(), train: splitOf({ ...tiny, labels: Int32Array.from(labels) }) };
  };
  const dataset = marked([0, 1, 0, 1, 0, 1]);
  const source = (given: object) =>
    batchSource(dataset, parseTrainingConfig({ batch: 3, labelDrop: 0, seed: 2, ...given }, "the test"));
  const firsts = (step: number, given = {}) => {
    const { images } = source(given)(step);
    return [0, 1, 2].map((i) => images[i * 192]);
  };
  it("contain every image once per epoch, in a different order each time", () => {
    const epochs = [0, 1, 2, 3].map((epoch) => [...firsts(2 * epoch), ...firsts(2 * epoch + 1)]);
    for (const epoch of epochs) expect(epoch.toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(new Set(epochs.map(String)).size).toBeGreaterThan(1);
  });
  it("depend only on seed and step", () => {
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
  it("otherwise keep the label of each image", () => {
    const draw = source({ labelDrop: 0.5 });
    for (let step = 0; step < 50; step++) {
      const { images, labels } = draw(step);
      labels.forEach((label, i) => {
        if (label !== 2) expect(label).toBe(images[i * 192] % 2);
      });
    }
  });
  it("continue with the next epoch in the middle of a step", () => {
    const drawn = Array.from({ length: 12 }, (_, step) => {
      const { images } = source({ batch: 4 })(step);
      return [0, 1, 2, 3].map((i) => images[i * 192]);
    }).flat();
    for (let epoch = 0; epoch < 8; epoch++)
      expect(drawn.slice(epoch * 6, epoch * 6 + 6).toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
  });
  it.each([
    [0, [4 / 6, 2 / 6]],
    [0.5, [2 / (2 + Math.SQRT2), Math.SQRT2 / (2 + Math.SQRT2)]],
    [1, [1 / 2, 1 / 2]],
  ])(
    "at balance %f, draw classes of 4 and 2 images in proportion to size to the power 1 - balance, and images within a class uniformly",
    (balance, shares) => {
      const uneven = marked([0, 1, 0, 0, 1, 0]);
      const draw = batchSource(uneven, parseTrainingConfig({ batch: 60, labelDrop: 0, balance }, "the test"));
      const total = 24_000;
      const counts = new Float64Array(6);
      for (let step = 0; step < total / 60; step++) {
        const { images } = draw(step);
        for (let i = 0; i < 60; i++) counts[images[i * 192]]++;
      }
      const near = (found: number, share: number, what: string) =>
        expect(Math.abs(found / total - share), what).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / total));
      const { labels } = uneven.train;
      counts.forEach((found, image) => near(found, shares[labels[image]] / [4, 2][labels[image]], `image ${image}`));
      near(counts[1] + counts[4], shares[1], "the smaller class");
    },
  );
  it("mirror half of the images horizontally on request, byte for byte", () => {
    const tiny = tinyImages(6);
    tiny.images.forEach((_, i) => (tiny.images[i] = (i * 37 + (i >> 8)) % 256));
    const noisy = { ...tinyDataset(), train: splitOf(tiny) };
    const draw = batchSource(noisy, parseTrainingConfig({ batch: 6, labelDrop: 0, augment: ["flip"] }, "the test"));
    const originals = Array.from({ length: 6 }, (_, i) => [...noisy.train.image(i)]);
    // [row, column, channel] with the columns reversed
    const mirrors = originals.map((image) =>
      image.map((_, i) => image[Math.floor(i / 24) * 24 + (7 - (Math.floor(i / 3) % 8)) * 3 + (i % 3)]).join(),
    );
    const plain = new Set(originals.map(String));
    let mirrored = 0;
    for (let step = 0; step < 100; step++) {
      const { images } = draw(step);
      for (let i = 0; i < 6; i++) {
        const image = images.subarray(i * 192, (i + 1) * 192).join();
        if (!plain.has(image)) expect(mirrors).toContain(image);
        if (!plain.has(image)) mirrored++;
      }
    }
    expect(Math.abs(mirrored / 600 - 1 / 2)).toBeLessThan(4 * Math.sqrt(1 / 4 / 600));
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
  /** The distribution function of the standard normal, by the trapezoidal rule. */
  const normalUpTo = (z: number): number => {
    const steps = 2000;
    const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    const width = z / steps;
    let sum = (density(0) + density(z)) / 2;
    for (let i = 1; i < steps; i++) sum += density(i * width);
    return 1 / 2 + sum * width;
  };
  it.each([16, 64])("cover ceil(%i rate) patches, the rate normal(1, 0.25) truncated to [0, 1]", (tokens) => {
    const total = 20_000;
    const drawn = counts(trainingMasks(1, 0)(0, rows(total), tokens), tokens);
    // P(rate <= r) = (F((r - 1) / 0.25) - F(-4)) / (F(0) - F(-4))
    const below = (rate: number) => (normalUpTo((rate - 1) / 0.25) - normalUpTo(-4)) / (1 / 2 - normalUpTo(-4));
    const histogram = new Float64Array(tokens + 1);
    for (const count of drawn) histogram[count]++;
    expect(histogram[0]).toBe(0);
    let chiSquare = 0;
    let cells = 0;
    let restFound = 0;
    let restExpected = 0;
    for (let count = 1; count <= tokens; count++) {
      restFound += histogram[count];
      restExpected += total * (below(count / tokens) - below((count - 1) / tokens));
      if (restExpected < 10) continue; // rare counts are pooled
      chiSquare += (restFound - restExpected) ** 2 / restExpected;
      cells++;
      [restFound, restExpected] = [0, 0];
    }
    expect(cells).toBeGreaterThan(tokens / 2);
    expect(Math.abs(chiSquare - (cells - 1)) / Math.sqrt(2 * (cells - 1))).toBeLessThan(4);
  });
  it("hide every patch equally often", () => {
    const drawn = trainingMasks(1, 0)(0, rows(8000), 16);
    const total = drawn.reduce((a, b) => a + b, 0);
    for (let place = 0; place < 16; place++) {
      let masked = 0;
      for (let row = 0; row < 8000; row++) masked += drawn[row * 16 + place];
      expect(Math.abs(masked - total / 16)).toBeLessThan(4.5 * Math.sqrt(8000 / 4));
    }
  });
  it("depend only on seed and step", () => {
    expect(trainingMasks(1, 2)(0, rows(8), 16)).toEqual(trainingMasks(1, 2)(0, rows(8), 16));
    expect(trainingMasks(1, 3)(0, rows(8), 16)).not.toEqual(trainingMasks(1, 2)(0, rows(8), 16));
    expect(trainingMasks(1, 2)(1, rows(8), 16)).not.toEqual(trainingMasks(1, 2)(0, rows(8), 16));
    expect(trainingMasks(2, 2)(0, rows(8), 16)).not.toEqual(trainingMasks(1, 2)(0, rows(8), 16));
    // a row's mask depends on its image and place, not on the rows before it
    const later = { image: new Int32Array(3), place: Int32Array.of(5, 6, 7) };
    expect(trainingMasks(1, 2)(0, later, 16)).toEqual(trainingMasks(1, 2)(0, rows(8), 16).subarray(5 * 16));
  });
});
