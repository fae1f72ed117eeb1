/**
 * Editing: known pixels stay, the redrawn part follows from them as in plain sampling, and masks that a model cannot
 * follow are rejected.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig, placedLevels } from "../config/model.ts";
import { derive, normal, seedKey, uniform } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { modelParameters, startingValue } from "../model/parameters.ts";
import { readCase } from "../parity/case.ts";
import { edit } from "./edit.ts";
import { allButMask, halfMask, rectangleMask } from "./masks.ts";
import { createSampler, type Frame, type SampleOptions, type Sampler } from "./sampler.ts";
import { firstOf } from "../test-depth.ts";

const temporary = mkdtempSync(join(tmpdir(), "fractalgen-edit-"));
afterAll(() => rmSync(temporary, { recursive: true }));
const engine = await nodeEngine({ threads: 1 });

const [block, small] = [
  { width: 16, depth: 2, heads: 2 },
  { width: 8, depth: 1, heads: 2 },
];
/** Models that no fixture covers, with weights chosen so that every one affects the result. */
const mixed: Record<string, object> = {
  "AR above MAR": { imageSize: 8, levels: [{ kind: "ar", patch: 4, ...block }, { kind: "mar", patch: 1, conditions: 1, ...small }] }, // prettier-ignore
  "MAR above AR, two channels": { imageSize: 12, channels: 2, levels: [{ kind: "mar", patch: 4, ...block }, { kind: "ar", patch: 1, ...small }] }, // prettier-ignore
};

async function samplerOf(name: string): Promise<Sampler> {
  const folder = join(temporary, name);
  if (name in mixed) {
    const { levels, ...rest } = mixed[name] as { levels: object[] };
    const config = parseModelConfig(
      { ...rest, classes: ["a", "b", "c"], levels: [...levels, { kind: "pixel", width: 12, depth: 1, heads: 2 }] },
      name,
    );
    const values = modelParameters(config).map((parameter, i) => {
      const key = derive(seedKey(2), i);
      return [parameter.name, startingValue(parameter, key).map((x, at) => 2 * x + 0.3 * normal(key, at))] as const;
    });
    await writeModelFolder(folder, config, new Map(values));
  } else {
    const { config, weights } = await readCase(
      fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url)),
    );
    await writeModelFolder(folder, config, weights);
  }
  return createSampler(engine, externalModel(readModelFolder(folder)));
}

async function drawn(stream: AsyncGenerator<Frame, Uint8Array>): Promise<{ images: Uint8Array; frames: Frame[] }> {
  const frames: Frame[] = [];
  for (;;) {
    const { done, value } = await stream.next();
    if (done) return { images: value, frames };
    frames.push({ ...value, images: value.images.slice() });
  }
}

/** Sharp logits make every byte depend on its conditions. */
const sharp = { temperature: 20, filterThreshold: 1e-4, seed: 11 };
const labels = [1, 2, 0];

const patchByPatch = (config: ModelConfig) => placedLevels(config).map(({ tokens }) => tokens);

function noise({ imageSize, channels }: ModelConfig, count: number, seed = 5): Uint8Array {
  const values = { length: count * imageSize ** 2 * channels };
  return Uint8Array.from(values, (_, at) => Math.floor(256 * uniform(seedKey(seed), at)));
}

/** Blobs that follow no grid, different in each image. */
function blobs({ imageSize: size }: ModelConfig, count: number): Uint8Array {
  return Uint8Array.from({ length: count * size ** 2 }, (_, at) => {
    const [x, y] = [at % size, Math.floor(at / size) % size];
    const image = Math.floor(at / size ** 2);
    return Number(Math.hypot(x - size * (0.3 + 0.2 * image), y - size * 0.45) < size * (0.2 + 0.09 * image));
  });
}

/** Everything from some pixel in the middle on, different in each image. */
function tails(config: ModelConfig, count: number): Uint8Array {
  const { imageSize: size } = config;
  const patch = placedLevels(config)[0].patch;
  return Uint8Array.from({ length: count * size ** 2 }, (_, at) =>
    Number((Math.floor(at / size) % size) + 1 > patch * (1 + Math.floor(at / size ** 2) / count)),
  );
}

const models = [
  { name: "mar-3level", masks: blobs },
  { name: "mar-4level-guided", masks: blobs },
  { name: "ar-3level", masks: tails },
  { name: "AR above MAR", masks: tails },
  { name: "MAR above AR, two channels", masks: blobs },
];

describe.each(firstOf(models, 3).map((one) => [one.name, one] as const))("%s", (name, { masks }) => {
  let sampler: Sampler;
  let config: ModelConfig;
  const sample = (options: Partial<SampleOptions>) => drawn(sampler.sample({ labels, ...sharp, ...options }));
  beforeAll(async () => {
    sampler = await samplerOf(name);
    config = sampler.config;
  });
  afterAll(() => sampler.dispose());

  it("keeps known pixels byte for byte, draws the others, and reports them in frames", async () => {
    const known = { images: noise(config, 3), mask: masks(config, 3) };
    const { images, frames } = await sample({ known, guidance: 2, batch: 2 });
    const times = new Uint8Array(known.mask.length);
    const { imageSize: size, channels } = config;
    let last = 0;
    for (const { finished, done, images: shown } of frames) {
      expect(done).toBeGreaterThanOrEqual(last);
      last = done;
      if (finished.side === 1)
        finished.image.forEach((image, i) => times[(image * size + finished.y[i]) * size + finished.x[i]]++);
      const expected = images.map((byte, at) => {
        const pixel = Math.floor(at / channels);
        return known.mask[pixel] === 0 ? known.images[at] : times[pixel] > 0 ? byte : 128;
      });
      expect(Buffer.compare(shown, expected)).toBe(0);
    }
    expect(last).toBe(1);
    expect(times).toEqual(known.mask);
    const same = images.filter((byte, at) => byte === known.images[at] && known.mask[Math.floor(at / channels)] !== 0);
    expect(same.length).toBeLessThan(times.length * 0.05);
  });

  it.each(firstOf([2.5, 1]))(
    "continues from a half-drawn image as plain sampling does (guidance %d)",
    async (guidance) => {
      const iterations = patchByPatch(config);
      const plain = await sample({ guidance, iterations });
      // One batch in which each image continues from a different moment.
      const mask = new Uint8Array(labels.length * config.imageSize ** 2).fill(1);
      plain.frames.forEach(({ finished: { image, x, y, side } }, at) => {
        if (side !== 1) return;
        image.forEach((own, i) => {
          if (at < (plain.frames.length * (own + 1)) / 4)
            mask[(own * config.imageSize + y[i]) * config.imageSize + x[i]] = 0;
        });
      });
      const { images, frames } = await sample({ guidance, iterations, known: { images: plain.images, mask } });
      expect(Buffer.compare(images, plain.images)).toBe(0);
      const pixels = frames.filter(({ finished: { side } }) => side === 1).map(({ finished: { x } }) => x.length);
      expect(pixels.reduce((a, b) => a + b, 0)).toBe(mask.reduce((a, b) => a + b, 0));
    },
  );

  it("draws the same images as plain sampling if nothing is known", async () => {
    const mask = new Uint8Array(labels.length * config.imageSize ** 2).fill(1);
    const iterations = placedLevels(config).map(() => 3);
    const [edited, plain] = [
      await sample({ iterations, known: { images: noise(config, 3), mask } }),
      await sample({ iterations }),
    ];
    expect(edited).toEqual(plain);
  });

  it("depends on the known pixels and the seed, but not on the batch or the pixels it replaces", async () => {
    const known = { images: noise(config, 3), mask: masks(config, 3) };
    const iterations = placedLevels(config).map(() => 4);
    const options = { known, iterations, guidance: 2, indices: [4, 0, 9], seed: [3, 8, 3] };
    const { images } = await sample({ ...options, batch: 3 });
    for (const batch of [1, 2]) expect((await sample({ ...options, batch })).images).toEqual(images);
    const [each, size] = [images.length / 3, config.imageSize ** 2];
    const alone = { images: known.images.slice(each, 2 * each), mask: known.mask.slice(size, 2 * size) };
    const second = { labels: [2], iterations, guidance: 2, indices: [0] };
    expect((await sample({ ...second, seed: 8, known: alone })).images).toEqual(images.slice(each, 2 * each));
    const blank = alone.images.map((byte, at) => (alone.mask[Math.floor(at / config.channels)] === 0 ? byte : 7));
    expect((await sample({ ...second, seed: 8, known: { ...alone, images: blank } })).images).toEqual(
      images.slice(each, 2 * each),
    );
    const differing = async (options: Partial<SampleOptions>) => {
      const other = (await sample({ ...second, ...options })).images;
      return other.filter(
        (byte, at) => alone.mask[Math.floor(at / config.channels)] !== 0 && byte !== images[each + at],
      ).length;
    };
    expect(await differing({ seed: 8, known: { ...alone, images: noise(config, 1, 6) } })).toBeGreaterThan(5);
    expect(await differing({ seed: 9, known: alone })).toBeGreaterThan(5);
  });
});

describe("edit", () => {
  let sampler: Sampler;
  let size = 0;
  let image: Uint8Array;
  beforeAll(async () => {
    sampler = await samplerOf("mar-3level");
    size = sampler.config.imageSize;
    image = noise(sampler.config, 1);
  });
  afterAll(() => sampler.dispose());
  const options = { labels: [1, 2], iterations: [4, 4], ...sharp };

  it("draws variants of one image, the same as sampling with it as known pixels", async () => {
    const mask = rectangleMask(size, { x: 3, y: 5, width: 6, height: 3 });
    const twice = <T extends Uint8Array>(one: T) => Uint8Array.of(...one, ...one);
    const { images } = await drawn(edit(sampler, image, mask, options));
    const known = { images: twice(image), mask: twice(mask) };
    expect(images).toEqual((await drawn(sampler.sample({ ...options, known }))).images);
  });

  it("with a ring, also redraws the patches around the hole", async () => {
    const { imageSize, channels } = sampler.config;
    const { patch } = placedLevels(sampler.config)[0];
    const mask = rectangleMask(size, { x: patch + 1, y: patch + 1, width: 1, height: 1 });
    const { frames } = await drawn(edit(sampler, image, mask, { ...options, labels: [1], ring: 1 }));
    const pixels = frames.filter(({ finished }) => finished.side === 1).flatMap(({ finished }) => [...finished.x]);
    expect(pixels.length).toBe((3 * patch) ** 2);
    expect(Math.max(...pixels)).toBe(3 * patch - 1);
    expect(image.length).toBe(imageSize ** 2 * channels);
  });

  it("stops when aborted", async () => {
    const stopped = new AbortController();
    const stream = edit(sampler, image, halfMask(size, "left"), { ...options, signal: stopped.signal });
    await stream.next();
    stopped.abort();
    await expect(stream.next()).rejects.toMatchObject({ name: "AbortError" });
  });

  it.each([
    ["an image of another size", () => [image.subarray(3), rectangleMask(size, { x: 0, y: 0, width: 1, height: 1 })], /^image: expected 16x16 pixels of 3 channels \(768 bytes\), got 765 bytes$/], // prettier-ignore
    [
      "a mask of another size",
      () => [image, new Uint8Array(64).fill(1)],
      /^mask: expected 16x16 values \(256\), got 64$/,
    ],
    ["a mask that keeps everything", () => [image, new Uint8Array(256)], /^mask: it marks nothing to redraw; mark at least one pixel/], // prettier-ignore
    ["a ring of half a patch", () => [image, new Uint8Array(256).fill(1), 0.5], /^ring: expected a whole number .* got 0.5$/], // prettier-ignore
  ] as const)("refuses %s", async (_, make, sentence) => {
    const [given, mask, ring] = make() as [Uint8Array, Uint8Array, number?];
    const refused = drawn(edit(sampler, given, mask, { ...options, ring }));
    await expect(refused).rejects.toMatchObject({ name: "UserError", message: expect.stringMatching(sentence) });
  });

  it("rejects masks that an AR level cannot follow, before any work", async () => {
    const refusal = async (name: string, make: (size: number) => Uint8Array): Promise<string> => {
      const ar = await samplerOf(name);
      const { imageSize } = ar.config;
      const error = await drawn(edit(ar, noise(ar.config, 1), make(imageSize), { labels: [0] })).catch((e: Error) => e);
      await ar.dispose();
      expect(error).toMatchObject({ name: "UserError" });
      return (error as Error).message;
    };
    const hole = (side: number) => rectangleMask(side, { x: 4, y: 4, width: 4, height: 4 });
    expect(await refusal("ar-3level", hole)).toMatch(
      /^mask: the first level of this model draws in raster order, so the mask must keep an upper part .*the patch of \d+x\d+ pixels at \d+,\d+ breaks this order; .*any mask \(its kind is mar\)/,
    );
    expect(await refusal("AR above MAR", (side) => halfMask(side, "left"))).toMatch(/patch of 4x4 pixels at 0,4 /);
    const around = (side: number) => allButMask(side, { x: 4, y: 4, width: 4, height: 4 });
    expect(await refusal("AR above MAR", (side) => around(side).map((_, at) => Number(at < side * 4)))).toMatch(
      /first level/,
    );
  });
});
