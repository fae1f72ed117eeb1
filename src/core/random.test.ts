/**
 * The random streams are uniform, independent of each other, and never change. All seeds are fixed, so the tests are
 * deterministic.
 */

import { describe, expect, it } from "vitest";
import { bits, derive, type Key, normal, permutation, seedKey, uniform } from "./random.ts";

/** How many standard deviations a chi-square statistic is from its mean. With fixed seeds, 4 is far out. */
function chiSquare(counts: ArrayLike<number>, { lost = 1 } = {}): number {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i];
  const expected = total / counts.length;
  let statistic = 0;
  for (let i = 0; i < counts.length; i++) statistic += (counts[i] - expected) ** 2 / expected;
  const freedom = counts.length - lost;
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}

function moments(values: Float64Array): { mean: number; variance: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return { mean, variance: values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length };
}

function correlation(a: Float64Array, b: Float64Array): number {
  const [x, y] = [moments(a), moments(b)];
  return (
    a.reduce((sum, value, i) => sum + (value - x.mean) * (b[i] - y.mean), 0) /
    a.length /
    Math.sqrt(x.variance * y.variance)
  );
}

const count = 100_000;
const filled = (draw: (i: number) => number, length = count) => Float64Array.from({ length }, (_, i) => draw(i));
const root = seedKey(1);

it("reproduces the recorded values, on which every seeded image and training run depends", () => {
  expect([0, 1, 2 ** 32 + 1].map((seed) => seedKey(seed))).toEqual([
    [1669126114, 2483553885],
    [2198333304, 2279564765],
    [3448380984, 1790690539],
  ]);
  expect([0, 1, 2].map((n) => bits(seedKey(0), n))).toEqual([3815001923, 2086535080, 878255033]);
  expect([7, -2].map((part) => derive(root, part))).toEqual([
    [310114110, 462179859],
    [2731742374, 708647611],
  ]);
  expect([0, 1, 2, 3].map((n) => uniform(root, n))).toEqual([
    0.2963573932647705, 0.0647628903388977, 0.9517417550086975, 0.22500866651535034,
  ]);
  expect([...permutation(root, 10)]).toEqual([1, 8, 9, 5, 4, 0, 3, 6, 7, 2]);
  // The last bit of Math.log and Math.cos may differ between engines.
  [0.7699707301631212, 0.3850388741254577, 1.9538120792674143].forEach((value, n) =>
    expect(normal(root, n)).toBeCloseTo(value, 12),
  );
});

describe("uniform", () => {
  // The ways to address draws: by number, by the key of a part (pixels of a square), by seed, by path.
  const streams: [string, (i: number) => number][] = [
    ["by number", (i) => uniform(root, i)],
    ["by number, far on", (i) => uniform(root, 1_000_000 + 1000 * i)],
    ["by part", (i) => uniform(derive(root, i), 0)],
    ["by seed", (i) => uniform(seedKey(i), 0)],
    ["by image, then place", (i) => uniform(derive(derive(root, i >> 8), i & 255), 2)],
    ["by three levels", (i) => uniform(derive(derive(derive(root, i >> 8), (i >> 4) & 15), i & 15), 0)],
  ];
  it.each(streams)("%s: mean, variance, histogram, neighbours", (_, draw) => {
    const values = filled(draw);
    const { mean, variance } = moments(values);
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(4 * Math.sqrt(1 / 12 / count));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(4 * Math.sqrt(1 / 180 / count));
    const histogram = new Int32Array(256);
    const pairs = new Int32Array(256);
    values.forEach((value, i) => {
      histogram[Math.floor(value * 256)]++;
      if (i % 2) pairs[Math.floor(value * 16) * 16 + Math.floor(values[i - 1] * 16)]++;
    });
    expect(Math.abs(chiSquare(histogram))).toBeLessThan(4);
    expect(Math.abs(chiSquare(pairs))).toBeLessThan(4);
  });

  it("is in [0, 1) and exact in float32", () => {
    for (let n = 0; n < 10_000; n++) {
      const value = uniform(root, n);
      expect(value >= 0 && value < 1 && Math.fround(value) === value).toBe(true);
    }
  });
});

describe("bits", () => {
  /** How often each output bit changes for each flipped input bit. */
  function changes(
    inputs: number,
    outputs: number,
    run: (flip: number, at: number) => [ArrayLike<number>, ArrayLike<number>],
  ): number[] {
    const trials = 2000;
    return Array.from({ length: inputs }, (_, flip) => {
      const counts = new Int32Array(outputs);
      for (let at = 0; at < trials; at++) {
        const [before, after] = run(flip, at);
        for (let out = 0; out < outputs; out++)
          counts[out] += ((before[out >> 5] ^ after[out >> 5]) >>> (out & 31)) & 1;
      }
      return Array.from(counts, (n) => n / trials);
    }).flat();
  }
  const flipped = ([a, b]: Key, flip: number): Key =>
    flip < 32 ? [(a ^ (1 << flip)) >>> 0, b] : [a, (b ^ (1 << (flip - 32))) >>> 0];
  const keyOf = (at: number): Key => [Math.imul(at, 0x2545f491) >>> 0, Math.imul(at + 77, 0x27d4eb2f) >>> 0];

  it.each([
    [
      "bits, one bit of the key flipped",
      changes(64, 32, (flip, at) => [[bits(keyOf(at), 5)], [bits(flipped(keyOf(at), flip), 5)]]),
    ],
    [
      "bits, one bit of the number flipped",
      changes(24, 32, (flip, at) => [[bits(root, at)], [bits(root, at ^ (1 << flip))]]),
    ],
    [
      "derive, one bit of the key flipped",
      changes(64, 64, (flip, at) => [derive(keyOf(at), 5), derive(flipped(keyOf(at), flip), 5)]),
    ],
    [
      "derive, one bit of the part flipped",
      changes(24, 64, (flip, at) => [derive(root, at), derive(root, at ^ (1 << flip))]),
    ],
  ])("%s: every bit of the result changes half the time", (_, shares) => {
    expect(Math.min(...shares)).toBeGreaterThan(0.44); // 2000 trials: 5 standard deviations
    expect(Math.max(...shares)).toBeLessThan(0.56);
  });
});

describe("derive", () => {
  it("creates streams that are independent of each other and of their parent", () => {
    const streams = [
      root,
      derive(root, 0),
      derive(root, 1),
      derive(root, 2),
      derive(derive(root, 0), 0),
      derive(derive(root, 1), 0),
      seedKey(2),
    ];
    const values = streams.map((key) => filled((n) => uniform(key, n), 40_000));
    for (let i = 0; i < values.length; i++)
      for (let j = 0; j < i; j++) {
        expect(Math.abs(correlation(values[i], values[j])), `${i} ${j}`).toBeLessThan(4 / Math.sqrt(40_000));
        expect(
          Math.abs(correlation(values[i].subarray(1), values[j].subarray(0, -1))),
          `${i} ${j} shifted`,
        ).toBeLessThan(4 / Math.sqrt(40_000));
      }
  });

  it("gives every place of a fractal a unique key, and paths in a different order different keys", () => {
    const keys = new Set<string>();
    for (const seed of [0, 1, 2])
      for (let image = 0; image < 8; image++)
        for (let place = -2; place < 64; place++)
          for (let inner = -2; inner < 64; inner++)
            keys.add(String(derive(derive(derive(seedKey(seed), image), place), inner)));
    expect(keys.size).toBe(3 * 8 * 66 * 66);
  });
});

describe("normal", () => {
  it("has the moments and quantiles of the standard normal", () => {
    const values = filled((n) => normal(derive(root, 9), n));
    const { mean, variance } = moments(values);
    expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(count));
    expect(Math.abs(variance - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
    for (const [within, share] of [
      [0.5, 0.382925],
      [1, 0.682689],
      [2, 0.9545],
      [3, 0.9973],
    ]) {
      const found = values.filter((x) => Math.abs(x) < within).length / count;
      expect(Math.abs(found - share), `within ${within}`).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / count));
    }
    expect(Math.abs(values.filter((x) => x > 0).length / count - 1 / 2)).toBeLessThan(4 * Math.sqrt(1 / 4 / count));
    expect(Math.abs(correlation(values.subarray(1), values.subarray(0, -1)))).toBeLessThan(4 / Math.sqrt(count));
  });
});

describe("permutation", () => {
  it("produces every order equally often", () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = permutation(derive(root, i), 4).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    expect(Math.abs(chiSquare([...counts.values()]))).toBeLessThan(4);
  });

  it("puts every value everywhere equally often", () => {
    const counts = new Int32Array(16 * 16);
    for (let i = 0; i < 16_000; i++)
      permutation(derive(root, i), 16).forEach((value, place) => counts[place * 16 + value]++);
    expect(Math.abs(chiSquare(counts, { lost: 31 }))).toBeLessThan(4);
  });

  it("contains every value once, for any count", () => {
    for (const length of [0, 1, 2, 3, 255, 4096])
      expect([...permutation(root, length)].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
  });
});
