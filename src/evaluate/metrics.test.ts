/** Metrics compared with their plain definitions and closed forms. `parity/metrics.test.ts` compares with torch-fidelity. */

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { derive, normal, seedKey, uniform } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { readInputs, statisticsOf as statisticsBy } from "../parity/metrics.ts";
import { type Features, float64, multiply, rowsOf } from "./metrics-products.ts";
import {
  frechetDistance,
  inceptionScore,
  kernelDistance,
  kernelDistanceOfAll,
  precisionAndRecall,
  type Sets,
} from "./metrics.ts";
import { thorough } from "../test-depth.ts";

const { read: recorded, sets: recordedSets } = readInputs(
  fileURLToPath(new URL("../../fixtures/metrics", import.meta.url)),
);
const sets = recordedSets();
const { generated, reference } = sets;
const engine = await nodeEngine({ threads: 1 });

const statisticsOf = (features: Features) => statisticsBy(engine, features);

const near = (value: number, right: number, relative = 1e-6) =>
  expect(Math.abs(value - right) / Math.abs(right)).toBeLessThan(relative);

/** Rows of independent normal values, moved by `shift`. */
function cloud(seed: number, shape: readonly [number, number], { shift = 0 } = {}): Features {
  const key = seedKey(seed);
  return float64(
    Float64Array.from({ length: shape[0] * shape[1] }, (_, i) => normal(key, i) + shift),
    shape,
  );
}

const broken = (features: Features, at: number, value: number): Features => ({
  ...features,
  data: features.data.map((x, i) => (i === at ? value : x)) as Float64Array,
});

describe("FID", () => {
  it("is symmetric, even if a covariance does not have full rank", async () => {
    const all = await statisticsOf(reference);
    for (const rows of [300, 40]) {
      const some = await statisticsOf(rowsOf(generated, 0, rows));
      const there = await frechetDistance(engine, { generated: some, reference: all });
      near(await frechetDistance(engine, { generated: all, reference: some }), there, rows < 48 ? 1e-5 : 1e-9);
      expect(there).toBeGreaterThan(20);
    }
  });

  it("is zero for equal statistics, and the distance of the means if only these differ", async () => {
    const own = await statisticsOf(generated);
    const moved = { ...own, mu: own.mu.map((value) => value + 0.5) };
    expect(await frechetDistance(engine, { generated: own, reference: own })).toBeLessThan(1e-10);
    near(await frechetDistance(engine, { generated: moved, reference: own }), 48 / 4, 1e-9);
    const none = { mu: new Float64Array(2), sigma: new Float64Array(4) };
    const one = { mu: new Float64Array(2), sigma: Float64Array.of(3, 0, 0, 4) };
    expect(await frechetDistance(engine, { generated: none, reference: one })).toBe(7);
  });

  it("has a closed form for covariances with the same axes", async () => {
    const spread = (deviations: number[]) => ({
      mu: new Float64Array(3),
      sigma: Float64Array.from({ length: 9 }, (_, i) => (i % 4 === 0 ? deviations[i / 4] ** 2 : 0)),
    });
    const distance = await frechetDistance(engine, { generated: spread([1, 2, 3]), reference: spread([2, 5, 3.5]) });
    expect(distance).toBeCloseTo(1 + 9 + 0.25, 12);
  });

  it("refuses statistics that are not finite or of other dimensions", async () => {
    const own = await statisticsOf(generated);
    const small = await statisticsOf(cloud(1, [10, 3]));
    await expect(frechetDistance(engine, { generated: own, reference: small })).rejects.toThrow(
      "FID: the generated images have 48 dimensions but the reference 3; use the same features for both",
    );
    const bad = { ...own, sigma: own.sigma.map((value, i) => (i === 7 ? NaN : value)) };
    await expect(frechetDistance(engine, { generated: own, reference: bad })).rejects.toThrow(
      "FID: the reference images' statistics are not numbers",
    );
  });
});

describe("the Inception Score", () => {
  it("is the number of classes if each image certainly has another class, and 1 if all predictions are equal", () => {
    const sure = float64(
      Float64Array.from({ length: 25 }, (_, i) => (i % 6 === 0 ? 2000 : 0)),
      [5, 5],
    );
    expect(inceptionScore(sure, { splits: 1 })).toEqual({ mean: expect.closeTo(5, 10), spread: 0 });
    const same = float64(
      Float64Array.from({ length: 25 }, (_, i) => i % 5),
      [5, 5],
    );
    expect(inceptionScore(same, { splits: 5 })).toEqual({ mean: expect.closeTo(1, 10), spread: expect.closeTo(0, 10) });
  });

  it("refuses NaN, and fewer images than splits", () => {
    const logits = recorded("logits");
    expect(() => inceptionScore(rowsOf(logits, 0, 9))).toThrow(
      "The Inception Score of 10 splits: at least 10 images are needed, the generated set has 9",
    );
    expect(() => inceptionScore(broken(logits, 45, NaN))).toThrow(
      "the generated set has NaN for image 2, not a number",
    );
    expect(() => inceptionScore(logits, { splits: 0 })).toThrow("at least 1 split");
  });
});

describe("KID", () => {
  it("of all images equals its definition, with several blocks and sets of different sizes", async () => {
    const [a, b] = [cloud(1, [1100, 3]), cloud(2, [1030, 3], { shift: 0.3 })];
    const kernel = (x: Features, i: number, y: Features, j: number) => {
      let product = 0;
      for (let d = 0; d < 3; d++) product += x.data[i * 3 + d] * y.data[j * 3 + d];
      return (product / 3 + 1) ** 3;
    };
    const mean = (x: Features, y: Features) => {
      let sum = 0;
      for (let i = 0; i < x.shape[0]; i++)
        for (let j = 0; j < y.shape[0]; j++) if (x !== y || i !== j) sum += kernel(x, i, y, j);
      return sum / x.shape[0] / (x === y ? x.shape[0] - 1 : y.shape[0]);
    };
    near(
      await kernelDistanceOfAll(engine, { generated: a, reference: b }),
      mean(a, a) + mean(b, b) - 2 * mean(a, b),
      1e-9,
    );
    near(
      await kernelDistanceOfAll(engine, { generated: b, reference: a }),
      await kernelDistanceOfAll(engine, { generated: a, reference: b }),
      1e-9,
    );
  });

  it("of subsets equals that of all images if each subset is everything, and else depends only on the seed", async () => {
    const all = await kernelDistanceOfAll(engine, { generated: rowsOf(generated, 0, 280), reference });
    const whole = { generated: rowsOf(generated, 0, 280), reference };
    const once = await kernelDistance(engine, whole, { subsets: 2, size: 280 });
    near(once.mean, all, 1e-9);
    expect(once.spread).toBeLessThan(1e-12);

    const some = await kernelDistance(engine, sets, { subsets: 30, size: 100, seed: 5 });
    expect(some).toEqual(await kernelDistance(engine, sets, { subsets: 30, size: 100, seed: 5 }));
    expect(some).not.toEqual(await kernelDistance(engine, sets, { subsets: 30, size: 100, seed: 6 }));
    expect(some.spread).toBeGreaterThan(1e-3);
    expect(Math.abs(some.mean - all)).toBeLessThan(some.spread); // an estimate without bias
  });

  it("refuses sets it cannot measure", async () => {
    await expect(kernelDistance(engine, sets)).rejects.toThrow(
      "KID over subsets of 1000 images: at least 1000 images are needed, the generated set has 300",
    );
    await expect(kernelDistanceOfAll(engine, { generated, reference: rowsOf(reference, 0, 1) })).rejects.toThrow(
      "KID: at least 2 images are needed, the reference set has 1",
    );
    await expect(kernelDistanceOfAll(engine, { generated, reference: cloud(1, [9, 5]) })).rejects.toThrow(
      "KID: the generated images have 48 dimensions but the reference 5",
    );
    await expect(
      kernelDistanceOfAll(engine, { generated, reference: broken(reference, 100, Infinity) }),
    ).rejects.toThrow("KID: the reference set has Infinity for image 2, not a number");
    await expect(kernelDistance(engine, sets, { size: 1 })).rejects.toThrow("subsets of at least 2 images");
  });

  it("can be cancelled", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(kernelDistance(engine, sets, { size: 100, signal })).rejects.toThrow("enough");
  });
});

describe("precision and recall", () => {
  /** The definition, distance by distance. */
  function plainly({ generated: a, reference: b }: Sets, k: number) {
    const distance = (x: Features, i: number, y: Features, j: number) => {
      let sum = 0;
      for (let d = 0; d < x.shape[1]; d++) sum += (x.data[i * x.shape[1] + d] - y.data[j * x.shape[1] + d]) ** 2;
      return sum;
    };
    const numbers = (x: Features) => [...Array(x.shape[0]).keys()];
    const inside = (x: Features, y: Features) => {
      const radii = numbers(y).map(
        (i) =>
          numbers(y)
            .map((j) => distance(y, i, y, j))
            .sort((p, q) => p - q)[k],
      );
      return numbers(x).filter((i) => radii.some((radius, j) => distance(x, i, y, j) <= radius)).length / x.shape[0];
    };
    return { precision: inside(a, b), recall: inside(b, a) };
  }

  it.runIf(thorough)("equal their definition, with several blocks and for several numbers of neighbours", async () => {
    const both = { generated: cloud(3, [1040, 2]), reference: cloud(4, [1100, 2], { shift: 2 }) };
    for (const neighbours of [1, 4]) {
      const right = plainly(both, neighbours);
      expect(right.precision).toBeLessThan(0.9);
      expect(await precisionAndRecall(engine, both, { neighbours })).toMatchObject(right);
    }
  });

  it("count an image that is in both sets, even if all its neighbours equal it", async () => {
    // Each of ten images five times: every ball has radius zero.
    const key = derive(seedKey(7), 1);
    const rows = Float32Array.from({ length: 5 * 10 * 64 }, (_, i) => uniform(key, i % (10 * 64)) * 10);
    const copies: Features = { dtype: "float32", shape: [50, 64], data: rows };
    const found = await precisionAndRecall(engine, { generated: rowsOf(copies, 0, 45), reference: copies });
    expect(found).toEqual({ precision: 1, recall: 1, fScore: 1 });
    const far = await precisionAndRecall(engine, { generated: cloud(1, [9, 64], { shift: 99 }), reference: copies });
    expect(far).toEqual({ precision: 0, recall: 0, fScore: 0 });
  });

  it("refuse too few images and sets of other dimensions", async () => {
    await expect(precisionAndRecall(engine, { generated: rowsOf(generated, 0, 3), reference })).rejects.toThrow(
      "Precision and recall with 3 neighbours: at least 4 images are needed, the generated set has 3",
    );
    await expect(precisionAndRecall(engine, { generated: cloud(1, [9, 5]), reference })).rejects.toThrow(
      "the generated images have 5 dimensions but the reference 48",
    );
    await expect(precisionAndRecall(engine, sets, { neighbours: 0 })).rejects.toThrow("at least 1 neighbour");
  });
});

describe("products", () => {
  it("are in float64, of either type and with either transpose", async () => {
    const a: Features = { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
    const b = float64(Float64Array.of(1e9, 1, 0, 0, 1, 1e-9), [3, 2]);
    expect([...(await multiply(engine, { a, b }))]).toEqual([1e9 + 3, 1 + 3e-9, 4e9 + 6, 4 + 6e-9]);
    expect([...(await multiply(engine, { a, b: a, transB: true }))]).toEqual([14, 32, 32, 77]);
    expect([...(await multiply(engine, { a, b: a, transA: true }))]).toEqual([17, 22, 27, 22, 29, 36, 27, 36, 45]);
  });
});
