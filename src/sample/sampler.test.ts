/** Sampling with the fixtures' weights: what images depend on, what frames report, and how sampling stops. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { modelParameters } from "../model/parameters.ts";
import { type ParityCase, readCase } from "../parity/case.ts";
import { firstOf } from "../test-depth.ts";
import { guidingRows, type Draws, patchesAt, seededDraws, wholeImages } from "./draws.ts";
import { createSampler, type Frame, type SampleOptions, type Sampler, type WatchedPixels } from "./sampler.ts";
import { maskedAfter } from "../levels/order.ts";
import { guidanceAt } from "./schedule.ts";

const temporary = mkdtempSync(join(tmpdir(), "fractalgen-sampler-"));
afterAll(() => rmSync(temporary, { recursive: true }));

const engine = await nodeEngine({ threads: 1 });

const fixture = (name: string): Promise<ParityCase> =>
  readCase(fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url)));

let folders = 0;
async function samplerOf({ config, weights }: Pick<ParityCase, "config" | "weights">): Promise<Sampler> {
  const folder = join(temporary, `model-${folders++}`);
  await writeModelFolder(folder, config, weights);
  return createSampler(engine, externalModel(readModelFolder(folder)));
}

async function imagesOf(sampler: Sampler, options: SampleOptions): Promise<Uint8Array> {
  const frames = sampler.sample(options);
  let next = await frames.next();
  while (!next.done) next = await frames.next();
  return next.value;
}

/** Splits the images. */
function split(images: Uint8Array, count: number): Uint8Array[] {
  const bytes = images.length / count;
  return Array.from({ length: count }, (_, i) => images.slice(i * bytes, (i + 1) * bytes));
}

const shareThatDiffers = (a: Uint8Array, b: Uint8Array): number =>
  a.reduce((sum, value, i) => sum + Number(value !== b[i]), 0) / a.length;

/** With the fixtures' untrained weights, conditions have little effect; sharp logits make every byte depend on them. */
const sharp = { temperature: 40, filterThreshold: 1e-4 };

const cases = [
  { name: "ar-3level", iterations: [16, 16] },
  { name: "mar-4level-guided", iterations: [5, 2, 3] },
  { name: "mar-3level", iterations: [5, 3] },
];

describe.each(firstOf(cases, 2).map((one) => [one.name, one] as const))("%s", (name, { iterations }) => {
  let recorded: ParityCase;
  let sampler: Sampler;
  beforeAll(async () => {
    recorded = await fixture(name);
    sampler = await samplerOf(recorded);
  });
  afterAll(() => sampler.dispose());

  describe.each(firstOf([2.5, 1]))("guidance %d", (guidance) => {
    const labels = [1, 0, 1];
    const common = { seed: 11, guidance, iterations, ...sharp };
    const sample = (options: Partial<SampleOptions>) => imagesOf(sampler, { labels, ...common, ...options });
    let reference: Uint8Array[];
    beforeAll(async () => {
      reference = split(await sample({ batch: 3 }), 3);
    });

    it("draws the same bytes for the same seed", async () => {
      expect(split(await sample({ batch: 3 }), 3)).toEqual(reference);
    });

    it("draws the same bytes when watched, and reports the probabilities each pixel was drawn with", async () => {
      const watched: WatchedPixels[] = [];
      const images = await sample({ batch: 2, watch: (pixels) => watched.push(pixels) });
      expect(split(images, 3)).toEqual(reference);
      const { imageSize: size, channels } = recorded.config;
      const seen = new Set<number>();
      for (const { image, x, y, bytes, probabilities } of watched)
        image.forEach((of, i) => {
          const at = (of * size + y[i]) * size + x[i];
          seen.add(at);
          for (let c = 0; c < channels; c++) {
            const row = probabilities.subarray((i * channels + c) * 256, (i * channels + c + 1) * 256);
            expect(row.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 4);
            expect(bytes[i * channels + c]).toBe(images[at * channels + c]);
            expect(row[bytes[i * channels + c]]).toBeGreaterThan(0);
          }
        });
      expect(seen.size).toBe(3 * size * size);
    });

    it("draws other bytes for another seed, index or label", async () => {
      const [first] = reference;
      const others = [
        await sample({ labels: [1], seed: 12 }),
        await sample({ labels: [1], indices: [1] }),
        await sample({ labels: [2] }),
        reference[2], // the same label, another index
      ];
      for (const other of others) expect(shareThatDiffers(first, other)).toBeGreaterThan(0.2);
    });

    it.each(firstOf([2, 1]))("draws the same images in batches of %d", async (batch) => {
      expect(split(await sample({ batch }), 3)).toEqual(reference);
    });

    it("draws the same image alone and among others", async () => {
      expect(await sample({ labels: [0], indices: [1] })).toEqual(reference[1]);
      const among = split(await sample({ labels: [0, 1, 0, 3, 0], indices: [40, 2, 1, 7, 1], batch: 4 }), 5);
      expect([among[1], among[2], among[4]]).toEqual([reference[2], reference[1], reference[1]]);
      expect(shareThatDiffers(among[0], reference[1])).toBeGreaterThan(0.2);
    });

    it("can interleave two sampling runs", async () => {
      const [a, b] = [0, 1].map((i) => sampler.sample({ labels: [labels[i]], indices: [i], ...common }));
      let [one, other] = [await a.next(), await b.next()];
      while (!one.done || !other.done)
        [one, other] = [one.done ? one : await a.next(), other.done ? other : await b.next()];
      expect([one.value, other.value]).toEqual(reference.slice(0, 2));
    });
  });

  it("frames finish every pixel exactly once at the last level and report it correctly", async () => {
    const labels = [1, 2, 3];
    const { imageSize, channels, levels } = recorded.config;
    const last = levels.length - 2;
    const frames: (Frame & { bytes: Uint8Array })[] = [];
    const stream = sampler.sample({ labels, batch: 2, iterations, seed: 5, ...sharp });
    let next = await stream.next();
    for (; !next.done; next = await stream.next()) frames.push({ ...next.value, bytes: next.value.images.slice() });
    const images = next.value;

    expect(frames.at(-1)!.done).toBe(1);
    const covered = levels.slice(0, -1).map(() => new Uint8Array(labels.length * imageSize ** 2));
    let done = 0;
    for (const { level, step, steps, finished, done: share, bytes } of frames) {
      expect(step).toBeGreaterThanOrEqual(1);
      expect(step).toBeLessThanOrEqual(steps);
      finished.image.forEach((image, i) => {
        for (let y = finished.y[i]; y < finished.y[i] + finished.side; y++)
          for (let x = finished.x[i]; x < finished.x[i] + finished.side; x++)
            covered[level][(image * imageSize + y) * imageSize + x]++;
      });
      if (level !== last) continue;
      expect(finished.side).toBe(1);
      done += finished.image.length;
      expect(share).toBeCloseTo(done / covered[last].length, 12);
      const expected = images.map((byte, i) => (covered[last][Math.floor(i / channels)] ? byte : 128));
      expect(Buffer.compare(bytes, expected)).toBe(0);
    }
    for (const level of covered) expect(level.every((times) => times === 1)).toBe(true);
  });

  it("stops between steps when aborted and can be used again", async () => {
    const options = { labels: [1, 2], iterations, seed: 3, guidance: 2 };
    const expected = await imagesOf(sampler, options);
    const aborter = new AbortController();
    const frames = sampler.sample({ ...options, signal: aborter.signal });
    for (let i = 0; i < 4; i++) expect((await frames.next()).done).toBe(false);
    aborter.abort();
    await expect(frames.next()).rejects.toMatchObject({ name: "AbortError" });
    expect(await frames.next()).toEqual({ done: true, value: undefined });
    const already = sampler.sample({ ...options, signal: AbortSignal.abort() });
    await expect(already.next()).rejects.toMatchObject({ name: "AbortError" });
    // a run that is abandoned midway
    for await (const frame of sampler.sample(options)) if (frame.level > 0) break;
    expect(await imagesOf(sampler, options)).toEqual(expected);
  });

  it("stops drawing images that are no longer wanted, without affecting the others", async () => {
    const options = { labels: [1, 2, 0, 3, 1], iterations, seed: 3, guidance: 2, batch: 3, ...sharp };
    const expected = split(await imagesOf(sampler, options), 5);
    const aborters = options.labels.map(() => new AbortController());
    const drop = (images: number[]) => images.forEach((image) => aborters[image].abort());
    const frames = sampler.sample({ ...options, signals: aborters.map(({ signal }) => signal) });
    const finished = aborters.map(() => 0);
    let [shown, done] = [0, 0];
    let before: number[] = [];
    for (;;) {
      const next = await frames.next();
      if (next.done) {
        const images = split(next.value, 5);
        for (const kept of [0, 2]) expect(images[kept]).toEqual(expected[kept]);
        break;
      }
      if (next.value.finished.side === 1) for (const image of next.value.finished.image) finished[image]++;
      done = next.value.done;
      // In the middle of a square, and all of the second batch at once.
      if (++shown !== 5) continue;
      drop([1, 3, 4]);
      before = [...finished];
    }
    const pixels = expected[0].length / recorded.config.channels;
    expect(finished).toEqual([pixels, before[1], pixels, 0, 0]);
    expect(before[1]).toBeGreaterThan(0);
    expect(done).toBe(1);
  });

  it("takes the requested number of steps, at most one per patch", async () => {
    const stepsOf = async (asked?: number[]) => {
      const counts = recorded.config.levels.slice(0, -1).map(() => [] as number[]);
      for await (const { level, finished } of sampler.sample({ labels: [1], iterations: asked }))
        counts[level].push(finished.image.length);
      return counts[0];
    };
    const ones = Array.from({ length: 16 }, () => 1);
    const ar = name.startsWith("ar"); // AR levels always decode one patch per step
    expect(await stepsOf(iterations.map(() => 1))).toEqual(ar ? ones : [16]);
    expect(await stepsOf(iterations.map((_, level) => (level === 0 ? 5 : 2)))).toEqual(ar ? ones : [1, 3, 3, 5, 4]);
    expect(await stepsOf(iterations.map(() => 999))).toEqual(ones);
    expect(await stepsOf()).toEqual(ones);
  });

  it.each(firstOf([3, 1]))("draws the likeliest bytes at a very high temperature (guidance %d)", async (guidance) => {
    const sample = (uniform: (i: number) => number, temperature: number) =>
      imagesOf(sampler, { labels: [1], iterations, guidance, temperature, draws: fixedDraws(uniform) });
    const modes = await sample(() => 0.5, 1e9);
    for (const uniform of [() => 0, () => 1 - 2 ** -24, (i: number) => (i * 0.618) % 1])
      expect(await sample(uniform, 1e9)).toEqual(modes);
    expect(await sample(() => 0.25, 1)).not.toEqual(modes);
    expect(new Set(modes).size).toBeGreaterThan(1);
  });

  it.each([
    [0, 0],
    [255, 1 - 2 ** -24],
  ])("never draws a byte of probability 0 (byte %d at uniform %d)", async (byte, uniform) => {
    const weights = new Map(recorded.weights);
    for (const letter of ["r", "g", "b"]) {
      const bias = modelParameters(recorded.config).find(
        ({ name, owner }) => owner === "pixels" && name.endsWith(`${letter}_mlm.bias`),
      )!.name;
      const changed = weights.get(bias)!.slice();
      changed[byte] = -1000;
      weights.set(bias, changed);
    }
    const without = await samplerOf({ config: recorded.config, weights });
    const draws = fixedDraws(() => uniform);
    const images = await imagesOf(without, { labels: [1], iterations: iterations.map(() => 1), draws });
    await without.dispose();
    expect(images.includes(byte)).toBe(false);
  });
});

it("can be disposed of before and after sampling", async () => {
  const sampler = await samplerOf(await fixture("mar-3level"));
  await sampler.dispose();
  const options = { labels: [0], iterations: [1, 1] };
  const images = await imagesOf(sampler, options); // sessions are compiled again
  await sampler.dispose();
  expect(await imagesOf(sampler, options)).toEqual(images);
  await sampler.dispose();
});

it("returns no images for no labels", async () => {
  const sampler = await samplerOf(await fixture("mar-3level"));
  expect(await imagesOf(sampler, { labels: [] })).toEqual(new Uint8Array());
});

describe("draws", () => {
  it("have separate keys for a square, its guiding pixel and its patches", () => {
    const rows = wholeImages(7, [0, 5]);
    const patches = patchesAt(
      rows,
      {
        row: Int32Array.from({ length: 32 }, (_, i) => Math.floor(i / 16)),
        place: Int32Array.from({ length: 32 }, (_, i) => i % 16),
      },
      { grid: 4, patch: 2 },
    );
    expect(patches.keys.length).toBe(32);
    expect([patches.image[21], patches.x[21], patches.y[21]]).toEqual([1, 2, 2]); // the second image's patch 5
    const keys = [rows, guidingRows(rows), patches, guidingRows(patches)].flatMap((squares) =>
      squares.keys.map(String),
    );
    expect(new Set(keys).size).toBe(2 + 2 + 32 + 32);
  });

  it("of guiding pixels are independent of those of their square", async () => {
    const sampler = await samplerOf(await fixture("mar-4level-guided"));
    const [orders, uniforms] = [new Set<string>(), new Set<string>()];
    const draws: Draws = {
      orders: (rows, tokens) => (rows.keys.forEach((key) => orders.add(String(key))), seededDraws.orders(rows, tokens)),
      uniforms: (rows, channels) => {
        for (const key of rows.keys) {
          expect(uniforms.has(String(key)) || orders.has(String(key))).toBe(false);
          uniforms.add(String(key));
        }
        return seededDraws.uniforms(rows, channels);
      },
    };
    await imagesOf(sampler, { labels: [0], iterations: [1, 1, 1], draws });
    await sampler.dispose();
    expect([orders.size, uniforms.size]).toEqual([1 + 16 + 64, 16 + 64 + 1024]);
    for (const key of orders) expect(uniforms.has(key)).toBe(false);
  });

  it("of a square depend on seed and index, and are permutations and values in [0, 1)", () => {
    const rows = wholeImages(7, [0, 5, 9]);
    const orders = seededDraws.orders(rows, 16);
    for (let row = 0; row < 3; row++)
      expect(Array.from(orders.slice(row * 16, row * 16 + 16).sort())).toEqual([...Array(16).keys()]);
    expect(seededDraws.orders(wholeImages(7, [5]), 16)).toEqual(orders.slice(16, 32));
    expect(seededDraws.orders(wholeImages(8, [5]), 16)).not.toEqual(orders.slice(16, 32));
    const many = seededDraws.uniforms(wholeImages(1, [...Array(4000).keys()]), 3);
    expect(many.every((u) => u >= 0 && u < 1)).toBe(true);
    expect(many.reduce((a, b) => a + b, 0) / many.length).toBeCloseTo(0.5, 1);
    expect(new Set(many).size).toBeGreaterThan(many.length - 20);
  });
});

describe("schedule", () => {
  const counts = (tokens: number, steps: number): number[] => {
    let masked = tokens;
    return Array.from({ length: steps - 1 }, (_, step) => (masked = maskedAfter(step, steps, tokens, masked)));
  };

  it.each([
    // floor(N cos(pi/2 (s + 1) / n)), computed by hand; the last step, which takes all remaining patches, is omitted
    { tokens: 4, steps: 1, expected: [] },
    { tokens: 4, steps: 2, expected: [2] },
    { tokens: 4, steps: 4, expected: [3, 2, 1] },
    { tokens: 16, steps: 4, expected: [14, 11, 6] },
    { tokens: 16, steps: 5, expected: [15, 12, 9, 4] },
    { tokens: 16, steps: 16, expected: [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1] },
    { tokens: 256, steps: 8, expected: [251, 236, 212, 181, 142, 97, 49] },
  ])("decodes $tokens patches in $steps steps", ({ tokens, steps, expected }) => {
    expect(counts(tokens, steps)).toEqual(expected);
  });

  it("leaves at least one patch, and fewer than before", () => {
    for (const tokens of [4, 9, 16, 25, 64, 256])
      for (let steps = 1; steps <= tokens; steps++) {
        const all = [tokens, ...counts(tokens, steps)];
        all.slice(1).forEach((left, i) => expect(left).toBeLessThan(all[i]));
        expect(Math.min(...all)).toBeGreaterThanOrEqual(1);
      }
    expect(maskedAfter(15, 16, 16, 1)).toBe(1);
  });

  it("guidance grows from 1 to its value, or stays constant", () => {
    expect([0, 0.25, 1].map((done) => guidanceAt(5, "linear", done))).toEqual([1, 2, 5]);
    expect([0, 0.25, 1].map((done) => guidanceAt(5, "constant", done))).toEqual([5, 5, 5]);
  });
});

/** Seeded orders, and uniforms given by their number. */
function fixedDraws(uniform: (i: number) => number): Draws {
  let drawn = 0;
  return {
    orders: seededDraws.orders,
    uniforms: ({ keys }, channels) => Float32Array.from({ length: keys.length * channels }, () => uniform(drawn++)),
  };
}
