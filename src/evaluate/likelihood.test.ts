/** Likelihoods compared with the loss graph's sums and with each other, in any batches. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { parseModelConfig, placedLevels } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import { derive, seedKey } from "../core/random.ts";
import { splitOf } from "../data/dataset.ts";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named } from "../graph/tree.ts";
import { lossGraph } from "../model/loss.ts";
import { modelParameters, startingValue } from "../model/parameters.ts";
import { lossFeeds, planPass } from "../model/plan.ts";
import { readCase } from "../parity/case.ts";
import { firstOf, thorough } from "../test-depth.ts";
import {
  type ImageLikelihood,
  likelihoodOf,
  type LikelihoodOptions,
  likelihoods,
  likelihoodSession,
  type LikelihoodSession,
} from "./likelihood.ts";

const temporary = mkdtempSync(join(tmpdir(), "fractalgen-likelihood-"));
afterAll(() => rmSync(temporary, { recursive: true }));
const engine = await nodeEngine({ threads: 1 });

async function open(name: string) {
  const recorded = await readCase(fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url)));
  const folder = join(temporary, name);
  await writeModelFolder(folder, recorded.config, recorded.weights);
  const model = externalModel(readModelFolder(folder));
  const { data, shape } = recorded.expected("images.u8") as HostTensor<Uint8Array>;
  const count = shape[0];
  const labels = Int32Array.from({ length: count }, (_, i) => i % recorded.config.classes.length);
  const split = splitOf({ images: data, labels, names: Array.from({ length: count }, (_, i) => `image ${i}`) });
  const all = async (options: LikelihoodOptions = {}) => {
    const found: ImageLikelihood[] = [];
    for await (const one of likelihoods(engine, model, split, options)) found.push(one);
    return found;
  };
  return { ...model, split, images: data, all };
}

const bitsOf = (found: ImageLikelihood[]) => found.map(({ bits }) => bits);
const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;

describe("of an AR model", async () => {
  const ar = await open("ar-3level");

  it("is exact: the loss graph's sum over all pixels", async () => {
    const { config, split, images } = ar;
    const labels = new Int32Array(split.count).fill(config.classes.length);
    const plan = planPass(config, split.count, () => new Uint8Array());
    const { nats } = lossGraph(config);
    const session = await engine.session(writeOnnx({ nats }, { weights: ar.weights }), { folder: ar.folder });
    const result = await session.run(named(lossFeeds(config, { images, labels }, plan)));
    await session.dispose();
    const total = (result.nats.data as Float32Array).reduce((a, b) => a + b, 0) / Math.LN2 / images.length;
    expect(likelihoodOf(config, { inOrder: true })).toBe("exact");
    const found = await ar.all({ passes: 5, seed: 3 });
    expect(found).toHaveLength(split.count);
    expect(mean(bitsOf(found))).toBeCloseTo(total, 5);
  });

  it("adds up over channels and over the map, and differs with the labels", async () => {
    const [null0] = await ar.all();
    expect(mean(null0.channels)).toBeCloseTo(null0.bits, 6);
    expect(null0.map.reduce((a, b) => a + b, 0) / null0.map.length).toBeCloseTo(null0.bits, 5);
    expect((await ar.all({ conditional: true }))[0].bits).not.toBeCloseTo(null0.bits, 7);
  });

  it("of the last pixels in raster order, given the rest, is the sum over those pixels", async () => {
    const { imageSize: size, channels } = ar.config;
    const lower = Uint8Array.from({ length: size ** 2 }, (_, at) => Number(at >= (size ** 2 * 3) / 4));
    const [whole, parts] = [await ar.all(), await ar.all({ drawn: () => lower })];
    parts.forEach(({ bits, map }, i) => {
      const own = whole[i].map.map((value, at) => value * lower[Math.floor(at / channels)]);
      map.forEach((value, at) => expect(value).toBeCloseTo(own[at], 4));
      expect(bits).toBeCloseTo(own.reduce((a, b) => a + b) / (size ** 2 / 4) / channels, 5);
    });
  });
});

describe.each([
  ["ar", "mar"],
  ["mar", "ar", "mar"],
  ["ar", "ar", "mar"],
] as const)("of levels %s, %s, %s", (...kinds) => {
  const levels = kinds.map((kind, l) => ({
    kind,
    patch: 2 ** (kinds.length - 1 - l),
    width: 16,
    depth: 1,
    heads: 2,
    ...(kind === "mar" && l > 0 ? { conditions: 1 } : {}),
  }));
  const config = parseModelConfig(
    {
      imageSize: 8,
      channels: 1,
      classes: ["any"],
      levels: [...levels, { kind: "pixel", width: 16, depth: 1, heads: 2 }],
    },
    "the test",
  );
  const images = Uint8Array.from({ length: 2 * 64 }, (_, i) => (i * i * 7) % 256);
  const split = splitOf({ images, labels: new Int32Array(2), names: ["0", "1"] });
  const values = new Map(
    modelParameters(config).map((one, i) => [one.name, startingValue(one, derive(seedKey(5), i))]),
  );
  const all = async (options: LikelihoodOptions) => {
    const found: ImageLikelihood[] = [];
    for await (const one of likelihoods(engine, { config, values }, split, options)) found.push(one);
    return found;
  };

  it("an order predicts every pixel once, and the mean of estimates equals that of orders", async () => {
    const orders = await all({ passes: 4, inOrder: true });
    const estimates = await all({ passes: 200, seed: 1 });
    for (const [i, { bits, map }] of orders.entries()) {
      expect(map.every((one) => one > 0)).toBe(true);
      expect(Math.abs(bits / estimates[i].bits - 1)).toBeLessThan(0.02);
    }
  });

  it.runIf(thorough)("of a part counts only that part", async () => {
    const drawn = Uint8Array.from({ length: 64 }, (_, at) => Number(at % 8 > 4 && at > 24));
    for (const { map } of await all({ inOrder: true, drawn: () => drawn }))
      expect([...map].map((one) => Number(one > 0))).toEqual([...drawn]);
  });
});

describe.each(firstOf(["mar-4level-guided", "mar-3level"]))("of %s", async (name) => {
  const mar = await open(name);

  it.runIf(thorough)("the mean of estimates equals that of orders", async () => {
    const estimates = await mar.all({ passes: 150, seed: 1 });
    const orders = await mar.all({ passes: 6, seed: 2, inOrder: true });
    for (const [i, { bits, guiding, channels }] of orders.entries()) {
      expect(Math.abs(bits - estimates[i].bits), `image ${i}`).toBeLessThan(0.03 * bits);
      expect(Math.abs(guiding - estimates[i].guiding)).toBeLessThanOrEqual(0.03 * guiding);
      expect(mean(channels)).toBeCloseTo(bits, 6);
    }
    expect(orders[0].guiding > 0).toBe(name.endsWith("guided"));
  });

  it("an order predicts every pixel once", async () => {
    for (const { map } of await mar.all({ inOrder: true })) expect(map.every((bits) => bits > 0)).toBe(true);
  });

  it.runIf(thorough)(
    "of a part counts only that part, in any batches, and of all pixels is that of the image",
    async () => {
      const { split } = mar;
      const { imageSize: size, channels } = mar.config;
      const disc = (index: number) =>
        Uint8Array.from({ length: size ** 2 }, (_, at) =>
          Number(Math.hypot((at % size) - 6.5 - index, Math.floor(at / size) - 7) < 4.2),
        );
      const found = await mar.all({ inOrder: true, drawn: disc });
      found.forEach(({ map, bits, guiding, index }) => {
        const drawn = disc(index);
        map.forEach((value, at) => expect(value > 0).toBe(drawn[Math.floor(at / channels)] === 1));
        const total = map.reduce((a, b) => a + b) / channels / drawn.reduce((a, b) => a + b);
        expect(bits).toBeCloseTo(total, 5);
        expect(guiding > 0).toBe(name.endsWith("guided"));
      });
      const cut = bitsOf(await mar.all({ inOrder: true, drawn: disc, batch: 5 }));
      cut.forEach((bits, i) => expect(bits).toBeCloseTo(found[i].bits, 5));
      const [one] = await mar.all({
        inOrder: true,
        drawn: () => new Uint8Array(size ** 2).fill(1),
        from: split.count - 1,
      });
      expect(one).toEqual((await mar.all({ inOrder: true, from: split.count - 1 }))[0]);
      await expect(mar.all({ drawn: disc })).rejects.toThrow(/an order/);
    },
  );

  it("of one pixel is the loss graph's with only that pixel hidden", async () => {
    const { config, split } = mar;
    const { imageSize: size } = config;
    const [x, y] = [6, 9];
    const levels = placedLevels(config);
    const plan = planPass(config, 1, (l, _, tokens) => {
      const { size: square, patch, grid } = levels[l];
      const place = Math.floor((y % square) / patch) * grid + Math.floor((x % square) / patch);
      return Uint8Array.from({ length: tokens }, (_, at) => Number(at === place));
    });
    const { nats } = lossGraph(config);
    const session = await engine.session(writeOnnx({ nats }, { weights: mar.weights }), { folder: mar.folder });
    const labels = Int32Array.of(config.classes.length);
    const result = await session.run(named(lossFeeds(config, { images: split.image(0), labels }, plan)));
    await session.dispose();
    const expected = (result.nats.data as Float32Array).reduce((a, b) => a + b) / Math.LN2 / config.channels;
    const one = Uint8Array.from({ length: size ** 2 }, (_, at) => Number(at === y * size + x));
    expect((await mar.all({ inOrder: true, drawn: () => one }))[0].bits).toBeCloseTo(expected, 5);
  });

  it.each(firstOf([false, true]))("does not depend on the batches (in order: %s)", async (inOrder) => {
    const whole = bitsOf(await mar.all({ inOrder, passes: 2, batch: 64 }));
    const cut = bitsOf(await mar.all({ inOrder, passes: 2, batch: 7 }));
    cut.forEach((bits, i) => expect(bits).toBeCloseTo(whole[i], 5));
    const rest = await mar.all({ inOrder, passes: 2, from: 1 });
    expect(rest[0].index).toBe(1);
    rest.forEach(({ bits }, i) => expect(bits).toBeCloseTo(whole[i + 1], 5));
    expect(bitsOf(await mar.all({ inOrder, passes: 2, seed: 9 }))).not.toEqual(whole);
  });

  it.each(firstOf([true, false]))(
    "is the same to the last bit wherever a measure begins and ends (in order: %s)",
    async (inOrder) => {
      const options = { inOrder, passes: 2, batch: 12 };
      const whole = bitsOf(await mar.all(options));
      for (let from = 0; from < whole.length; from++)
        expect(bitsOf(await mar.all({ ...options, from, to: from + 1 }))).toEqual([whole[from]]);
    },
  );

  it("can be cancelled", async () => {
    await expect(mar.all({ signal: AbortSignal.abort() })).rejects.toThrow("aborted");
  });

  it("can be cancelled after one batch of the most passes, whose views are made batch by batch", async () => {
    const controller = new AbortController();
    const inner = await likelihoodSession(engine, mar);
    const session: LikelihoodSession = { ...inner, run: (feeds) => (controller.abort(), inner.run(feeds)) };
    const options = { inOrder: true, passes: 65536, signal: controller.signal, session };
    await expect(mar.all(options)).rejects.toThrow("aborted");
    await inner.dispose();
  });
});

it.runIf(thorough)(
  "of the shipped model, which uses the known pixels: orders and estimates agree",
  async () => {
    const model = externalModel(readModelFolder(fileURLToPath(new URL("../../models/emoji", import.meta.url))));
    const { imageSize: size } = model.config;
    const disc = Uint8Array.from({ length: size * size * 3 }, (_, i) => {
      const [x, y] = [Math.floor(i / 3) % size, Math.floor(i / 3 / size)];
      return Math.hypot(x - size / 2, y - size / 2) < size / 3 ? [255, 200, 40][i % 3] : 255;
    });
    const split = splitOf({ images: disc, labels: Int32Array.of(0), names: ["disc"] });
    const bits = async (options: LikelihoodOptions) => {
      for await (const one of likelihoods(engine, model, split, options)) return one.bits;
      throw new Error("no image");
    };
    const order = await bits({ inOrder: true, passes: 2 });
    const estimate = await bits({ passes: 60 });
    expect(Math.abs(order / estimate - 1)).toBeLessThan(0.1);
    expect(order).toBeLessThan(4); // without the known pixels it could not tell the disc from the background
  },
  30_000,
);
