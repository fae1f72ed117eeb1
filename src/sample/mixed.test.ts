/**
 * Models that no fixture covers: AR above MAR and the reverse, few conditions, one to four channels, odd patch sizes.
 * Sampling must use the model whose likelihood the loss measures. To test this, draws are chosen so that sampling
 * reproduces a given image, and the logits it must have used are compared with those of the loss graph.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig, placedLevels } from "../config/model.ts";
import { float32, type HostTensor, int32, product } from "../core/arrays.ts";
import { derive, normal, permutation, seedKey, uniform } from "../core/random.ts";
import type { Engine } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { concat, input, reshape } from "../graph/build.ts";
import { gradients } from "../graph/gradient.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named } from "../graph/tree.ts";
import { lossGraph } from "../model/loss.ts";
import { networksOf } from "../model/networks.ts";
import { modelParameters, type Parameter, startingValue } from "../model/parameters.ts";
import { lossFeeds, type Masks, planPass } from "../model/plan.ts";
import { firstOf } from "../test-depth.ts";
import { seededDraws, type Squares } from "./draws.ts";
import { createSampler, type SampledModel, type SampleOptions } from "./sampler.ts";

const block = { width: 16, depth: 2, heads: 2 };
const small = { width: 8, depth: 1, heads: 2 };
const pixel = { kind: "pixel", width: 12, depth: 2, heads: 3 };

const models: Record<string, { imageSize: number; channels: number; levels: object[] }> = {
  "AR above MAR": {
    imageSize: 8,
    channels: 3,
    levels: [{ kind: "ar", patch: 4, ...block }, { kind: "mar", patch: 1, conditions: 1, ...small }, pixel],
  },
  "MAR above AR, four channels": {
    imageSize: 8,
    channels: 4,
    levels: [{ kind: "mar", patch: 2, ...block }, { kind: "ar", patch: 1, ...small }, pixel],
  },
  "MAR above AR that reads five conditions": {
    imageSize: 8,
    channels: 1,
    levels: [{ kind: "mar", patch: 2, ...block }, { kind: "ar", patch: 1, conditions: 5, ...small }, pixel],
  },
  "MAR 12, 6, 3, 1, one channel, guiding pixels": {
    imageSize: 12,
    channels: 1,
    levels: [
      { kind: "mar", patch: 6, ...block },
      { kind: "mar", patch: 3, guidingPixel: true, ...block },
      { kind: "mar", patch: 1, guidingPixel: true, ...small },
      pixel,
    ],
  },
  "AR, MAR, MAR 12, 6, 3, 1, two channels, one condition and a guiding pixel": {
    imageSize: 12,
    channels: 2,
    levels: [
      { kind: "ar", patch: 6, ...small },
      { kind: "mar", patch: 3, conditions: 1, guidingPixel: true, ...block },
      { kind: "mar", patch: 1, conditions: 3, ...small },
      pixel,
    ],
  },
  "AR throughout, grids of three, two channels": {
    imageSize: 9,
    channels: 2,
    levels: [{ kind: "ar", patch: 3, ...block }, { kind: "ar", patch: 1, ...small }, pixel],
  },
  "one MAR level above the pixels, two conditions": {
    imageSize: 4,
    channels: 3,
    levels: [{ kind: "mar", patch: 1, conditions: 2, ...block }, pixel],
  },
};

const temporary = mkdtempSync(join(tmpdir(), "fractalgen-mixed-"));
afterAll(() => rmSync(temporary, { recursive: true }));

const engine = await nodeEngine({ threads: 1 });

type Values = Map<string, Float32Array>;

const valuesOf = (config: ModelConfig, make: (parameter: Parameter, i: number) => Float32Array): Values =>
  new Map(modelParameters(config).map((parameter, i) => [parameter.name, make(parameter, i)]));

const starting = (config: ModelConfig): Values =>
  valuesOf(config, (parameter, i) => startingValue(parameter, derive(seedKey(1), i)));

/** Weights that all affect the result: no zeros, no ones, and logits that differ by about 1. */
const loud = (config: ModelConfig): Values =>
  valuesOf(config, (parameter, i) => {
    const key = derive(seedKey(2), i);
    const value = startingValue(parameter, key);
    if (parameter.name.includes("codebook")) return value.map((x) => (50 * x) / Math.sqrt(parameter.shape[1]));
    if (parameter.start === "normal") return value.map((x) => 15 * x);
    return parameter.start === "xavier" ? value : value.map((x, at) => x + 0.3 * normal(key, at));
  });

let folders = 0;
async function folderOf(config: ModelConfig, values: Values): Promise<SampledModel> {
  const folder = join(temporary, `model-${folders++}`);
  await writeModelFolder(folder, config, values);
  return externalModel(readModelFolder(folder));
}

const parametersOf = (config: ModelConfig, values: Values): Record<string, HostTensor> =>
  Object.fromEntries(modelParameters(config).map(({ name, shape }) => [name, float32(values.get(name)!, shape)]));

/**
 * Bytes [count, S, S, C]; with guiding pixels, constant in each patch of the first level, so that every mean is a byte.
 */
function someImages(config: ModelConfig, count: number): Uint8Array {
  const { imageSize, channels } = config;
  const levels = placedLevels(config);
  const flat = levels.some(({ guidingPixel }) => guidingPixel) ? levels[0].patch : 1;
  const side = imageSize / flat;
  return Uint8Array.from({ length: count * imageSize ** 2 * channels }, (_, at) => {
    const [c, x, y] = [
      at % channels,
      Math.floor(at / channels) % imageSize,
      Math.floor(at / channels / imageSize) % imageSize,
    ];
    const image = Math.floor(at / channels / imageSize ** 2);
    const place = (image * side + Math.floor(y / flat)) * side + Math.floor(x / flat);
    return Math.floor(256 * uniform(seedKey(5), place * channels + c));
  });
}

const halfMasked: Masks = (level, { image }, tokens) =>
  Uint8Array.from({ length: image.length * tokens }, (_, i) => {
    const order = permutation(derive(seedKey(level), Math.floor(i / tokens)), tokens);
    return Number(order[i % tokens] < tokens / 2);
  });

const classes = ["a", "b", "c"];
const labels = Int32Array.of(2, 0);

describe.each(firstOf(Object.entries(models), 2))("%s", (name, description) => {
  const config = parseModelConfig({ ...description, classes }, name);
  const guidingLevels = placedLevels(config).filter(({ guidingPixel }) => guidingPixel).length;
  const images = someImages(config, labels.length);

  it("samples the same bytes again and in another batch, and different ones for another seed", async () => {
    const sampler = createSampler(engine, await folderOf(config, starting(config)));
    const run = async (options: Partial<SampleOptions>): Promise<Uint8Array> => {
      const frames = sampler.sample({ labels: [...labels], guidance: 2, ...options });
      let next = await frames.next();
      while (!next.done) next = await frames.next();
      return next.value;
    };
    const sampled = await run({});
    expect(sampled.length).toBe(labels.length * config.imageSize ** 2 * config.channels);
    expect(new Set(sampled).size).toBeGreaterThan(20);
    expect(await run({ batch: 1 })).toEqual(sampled);
    expect(await run({ seed: 1 })).not.toEqual(sampled);
    await sampler.dispose();
  });

  it("starts at a loss of ln 256, and its gradient matches finite differences", async () => {
    const graph = lossGraph(config);
    const slopes = gradients(graph.loss, [...graph.parameters.values()]);
    const names = [...graph.parameters.keys()];
    const session = await engine.session(
      writeOnnx({ loss: graph.loss, ...Object.fromEntries(slopes.map((slope, i) => [`d.${names[i]}`, slope])) }),
    );
    const feeds = lossFeeds(config, { images, labels }, planPass(config, labels.length, halfMasked), { redWeight: 3 });
    const run = (values: Values) => session.run(named({ ...parametersOf(config, values), ...feeds }));

    const values = starting(config);
    const results = await run(values);
    expect(Number(results.loss.data[0]) / (1 + guidingLevels) / Math.log(256)).toBeCloseTo(1, 1.5);

    const gradient = (parameter: string) => results[`d.${parameter}`].data as Float32Array;
    let squares = 0;
    for (const { name: parameter, shape } of modelParameters(config)) {
      expect(gradient(parameter).length, parameter).toBe(product(shape));
      expect(gradient(parameter).every(Number.isFinite), parameter).toBe(true);
      squares += gradient(parameter).reduce((sum, x) => sum + x * x, 0);
    }
    for (const parameter of [
      "generator.cond_emb.weight",
      "generator.patch_emb.weight",
      `${"next_fractal.".repeat(config.levels.length - 1)}cond_proj.weight`,
    ])
      expect(
        gradient(parameter).some((x) => x !== 0),
        parameter,
      ).toBe(true);
    // Along the gradient, the loss changes at a rate equal to the gradient's norm.
    const length = Math.sqrt(squares);
    const moved = async (by: number) => {
      const there = [...values].map(
        ([key, value]) => [key, value.map((x, i) => x + (by * gradient(key)[i]) / length)] as const,
      );
      return Number((await run(new Map(there))).loss.data[0]);
    };
    const step = 0.003;
    expect(((await moved(step)) - (await moved(-step))) / (2 * step) / length).toBeCloseTo(1, 2);
    await session.dispose();
  });

  describe("sampling uses the model of the loss", () => {
    const values = loud(config);
    const nulls = new Int32Array(labels.length).fill(config.classes.length);
    let model: SampledModel;
    let likelihood: Awaited<ReturnType<typeof likelihoodOf>>;
    beforeAll(async () => {
      model = await folderOf(config, values);
      likelihood = await likelihoodOf(config, values);
    });
    afterAll(() => likelihood.dispose());

    it.each(firstOf([1.5, 1]))("all patches of a square in one step, guidance %d", async (guidance) => {
      const forced = await forcedSampling(model, values, images);
      const iterations = config.levels.slice(1).map(() => 1);
      const { sampled, nats, frames } = await forced.run({ labels: [...labels], guidance, iterations });
      expect(sampled).toEqual(images);
      const everything: Masks = (_, { image }, tokens) => new Uint8Array(image.length * tokens).fill(1);
      const expected = await Promise.all(
        (guidance === 1 ? [labels] : [labels, nulls]).map((given) => likelihood.nats(images, given, everything)),
      );
      expect(nats.length).toBe(expected.length);
      nats.forEach((value, way) => expect(value / expected[way]).toBeCloseTo(1, 5));
      expect(frames.length).toBeGreaterThan(0);
      await forced.dispose();
    });

    it("the first level in several steps", async () => {
      const forced = await forcedSampling(model, values, images);
      const iterations = config.levels.slice(1).map((_, l) => (l === 0 ? 3 : 1));
      const { sampled, nats, frames } = await forced.run({ labels: [...labels], iterations });
      expect(sampled).toEqual(images);
      const [{ kind, tokens, grid, patch }] = placedLevels(config);
      const everything: Masks = (_, { image }, count) => new Uint8Array(image.length * count).fill(1);
      let total = 0;
      if (kind === "ar") total = await likelihood.nats(images, labels, everything);
      else {
        const hidden = new Uint8Array(labels.length * tokens).fill(1);
        for (const { finished } of frames.filter(({ level }) => level === 0)) {
          const chosen = new Uint8Array(hidden.length);
          finished.image.forEach((image, i) => {
            chosen[image * tokens + (finished.y[i] / patch) * grid + finished.x[i] / patch] = 1;
          });
          const masks: Masks = (l, rows, count) => (l === 0 ? chosen : everything(l, rows, count));
          total += await likelihood.nats(images, labels, masks, hidden);
          chosen.forEach((one, at) => one && (hidden[at] = 0));
        }
        expect(hidden.every((one) => one === 0)).toBe(true);
      }
      expect(nats[0] / total).toBeCloseTo(1, 5);
      await forced.dispose();
    });
  });
});

/**
 * The loss graph's nats for the pixels and guiding pixels that a plan predicts; `hidden` is the mask of level 0 if it
 * differs.
 */
async function likelihoodOf(config: ModelConfig, values: Values) {
  const { nats, guidingNats } = lossGraph(config);
  const session = await engine.session(writeOnnx({ nats: concat([nats, ...guidingNats.values()], 0) }));
  return {
    async nats(images: Uint8Array, given: Int32Array, masks: Masks, hidden?: Uint8Array): Promise<number> {
      const feeds = lossFeeds(config, { images, labels: given }, planPass(config, given.length, masks));
      if (hidden) feeds.mask[0] = float32(Float32Array.from(hidden), feeds.mask[0]!.shape);
      const result = await session.run(named({ ...parametersOf(config, values), ...feeds }));
      return (result.nats.data as Float32Array).reduce((a, b) => a + b, 0);
    },
    dispose: () => session.dispose(),
  };
}

/**
 * A sampler that reproduces `target`: before each draw, the teacher's pixel graph computes the logits for the current
 * conditions of sampling, and each uniform is set to the middle of the interval of the wanted byte. If the step's own
 * logits were different, different bytes would come out. `nats` is the sum of -log p of those bytes, with the label
 * and, with guidance, also without it.
 */
async function forcedSampling(model: SampledModel, values: Values, target: Uint8Array) {
  const { config } = model;
  const { channels, imageSize } = config;
  const parameters = parametersOf(config, values);
  const networks = networksOf(config);
  const teachers = [
    { at: -1, network: networks.pixels },
    ...networks.levels.flatMap(({ guidingPixel }, at) => (guidingPixel ? [{ at, network: guidingPixel }] : [])),
  ].map(async ({ at, network }) => {
    const { conditionWidth } = network;
    const condition = input("condition", "float32", ["K", conditionWidth]);
    const bytes = input("bytes", "int32", ["K", channels]);
    const logits = network.teach({ condition, bytes });
    const stacked = concat(
      logits.map((x) => reshape(x, ["K", 1, 256])),
      1,
    ); // [K, C, V]
    return { at, width: conditionWidth, session: await engine.session(writeOnnx({ logits: stacked })) };
  });
  const opened = await Promise.all(teachers);

  let rows: Squares;
  const nats = [0, 0];
  const wrapped: Engine = {
    ...engine,
    async session(graph, options) {
      const inner = await engine.session(graph, options);
      if (!inner.inputs.includes("uniforms")) return inner;
      const text = Buffer.from(graph.bytes);
      const guidingAt = config.levels
        .map((_, l) => text.includes(`${"next_fractal.".repeat(l)}generator.guiding_pixel_loss.`))
        .lastIndexOf(true);
      const { width, session: teacher } = opened.find(({ at }) => at === guidingAt)!;
      return {
        ...inner,
        async run(feeds: Record<string, HostTensor>) {
          const [count, given] = [rows.keys.length, feeds.conditions];
          const ways = given.shape[0] / count;
          const wanted = Int32Array.from({ length: count * channels }, (_, i) => {
            const row = Math.floor(i / channels);
            return target[
              ((rows.image[row] * imageSize + rows.y[row]) * imageSize + rows.x[row]) * channels + (i % channels)
            ];
          });
          const each = product(given.shape.slice(1));
          const middle = Float32Array.from({ length: ways * count * width }, (_, i) =>
            Number(given.data[(Math.floor(i / width) + 1) * each - width + (i % width)]),
          );
          const { logits } = await teacher.run({
            ...parameters,
            condition: float32(middle, [ways * count, width]),
            bytes: int32(ways === 2 ? Int32Array.of(...wanted, ...wanted) : wanted, [ways * count, channels]),
          });
          const uniforms = Float32Array.from(wanted, (byte, i) => {
            const [conditional, unconditional] = [0, 1].map((way) =>
              Float64Array.from(
                (logits.data as Float32Array).subarray(
                  (way * count * channels + i) * 256,
                  (way * count * channels + i + 1) * 256,
                ),
              ),
            );
            nats[0] -= Math.log(softmax(conditional)[byte]);
            if (ways === 1) return middleOf(softmax(conditional), byte);
            nats[1] -= Math.log(softmax(unconditional)[byte]);
            const strength = Number(feeds.guidance.data[0]);
            return middleOf(softmax(unconditional.map((lu, v) => lu + strength * (conditional[v] - lu))), byte);
          });
          const result = await inner.run({ ...feeds, uniforms: float32(uniforms, [count, channels]) });
          expect(result.bytes.data).toEqual(wanted);
          return result;
        },
      };
    },
  };
  const sampler = createSampler(wrapped, model);
  const draws = {
    ...seededDraws,
    uniforms: (now: Squares, count: number) => seededDraws.uniforms((rows = now), count),
  };
  return {
    async run(options: SampleOptions) {
      const frames = [];
      const stream = sampler.sample({ ...options, draws });
      let next = await stream.next();
      for (; !next.done; next = await stream.next()) frames.push(next.value);
      return {
        sampled: next.value,
        frames,
        nats: options.guidance && options.guidance !== 1 ? nats : nats.slice(0, 1),
      };
    },
    async dispose() {
      await sampler.dispose();
      await Promise.all(opened.map(({ session }) => session.dispose()));
    },
  };
}

function softmax(logits: Float64Array): Float64Array {
  const most = Math.max(...logits);
  const powers = logits.map((x) => Math.exp(x - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / total);
}

/** The uniform in the middle of the interval that draws `byte`. */
const middleOf = (probabilities: Float64Array, byte: number): number =>
  probabilities.subarray(0, byte).reduce((a, b) => a + b, 0) + probabilities[byte] / 2;
