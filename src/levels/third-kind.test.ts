/**
 * A level kind defined only in this test: each block is a causal mean over the tokens and an MLP. Everything the
 * program does with AR and MAR levels must work with it. It is written with the entries `fractalgen/levels` and
 * `fractalgen/graph` alone, as a program would write it.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { parseTrainingConfig } from "../config/training.ts";
import { float32, int32 } from "../core/arrays.ts";
import { seedKey, uniform } from "../core/random.ts";
import { type Dataset, splitOf } from "../data/dataset.ts";
import { nodeEngine } from "../engine/node.ts";
import { likelihoodOf, likelihoods } from "../evaluate/likelihood.ts";
import { exportOnnx } from "../files/export.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { quantizeFolder } from "../files/quantize.ts";
import {
  add,
  cast,
  concat,
  constant,
  dim,
  div,
  embedding as rowsOf,
  flatten,
  gelu,
  input,
  less,
  linear,
  over,
  reshape,
  slice,
  type Tensor,
  times,
  transpose,
  where,
} from "../graph/index.ts";
import { complexity } from "../model/complexity.ts";
import { manifest } from "../model/manifest.ts";
import { modelParameters } from "../model/parameters.ts";
import { storedTensors } from "../model/quantize.ts";
import { edit } from "../sample/edit.ts";
import { followsAnyMask } from "../sample/known.ts";
import { halfMask, rectangleMask } from "../sample/masks.ts";
import { samplingBytes } from "../sample/memory.ts";
import { createSampler, type Frame } from "../sample/sampler.ts";
import { loadCheckpoint, saveCheckpoint } from "../train/checkpoint.ts";
import { startingState, type TrainingState } from "../train/state.ts";
import { trainingBytes } from "../train/memory.ts";
import { train } from "../train/trainer.ts";
import {
  blocks,
  type Declare,
  declareDense,
  declareEmbedding,
  declareNorm,
  decodeInRaster,
  dense,
  type LevelKind,
  type Network,
  norm,
  patchSide,
  type Placed,
  placed,
  prefix,
  rasterOrder,
  registerLevelKind,
  transformer,
} from "./index.ts";
import { firstOf } from "../test-depth.ts";

const { width, depth } = transformer;
const schema = z.strictObject({ kind: z.literal("mean"), patch: patchSide, width, depth });
type MeanLevel = z.infer<typeof schema>;

interface MeanStep {
  conditions: Tensor;
  /** Running sum over the tokens so far, for each block: [R', D]. */
  sum: Tensor[];
  [name: string]: Tensor | Tensor[];
}

function network(declare: Declare, level: Placed<MeanLevel>): Network<MeanStep> {
  const { tokens, width, channels, patch } = level;
  const embedding = declareEmbedding(declare, level, tokens);
  const layers = blocks(declare, level.depth, (block) => ({
    norm: declareNorm(block, "norm", width),
    fc1: declareDense(block, "mlp.fc1", [2 * width, width]),
    fc2: declareDense(block, "mlp.fc2", [width, 2 * width]),
  }));
  const last = declareNorm(declare, "norm", width);
  const mlp = ({ fc1, fc2 }: (typeof layers)[number], x: Tensor) => dense(fc2, gelu(dense(fc1, x)));

  /** [R, T, D] -> the mean of each token and all tokens before it. */
  const causalMean = (x: Tensor): Tensor => {
    const shares = Float32Array.from({ length: tokens ** 2 }, (_, i) => {
      const row = Math.floor(i / tokens);
      return i % tokens <= row ? 1 / (row + 1) : 0;
    });
    const across = linear(transpose(x, [0, 2, 1]), constant(float32(shares, [tokens, tokens])));
    return transpose(across, [0, 2, 1]);
  };

  const teach: Network["teach"] = ({ patches, between, ...above }) => {
    const before = prefix(embedding, above);
    const shown = reshape(dense(embedding.patches, patches), [dim(before, 0), tokens, width]);
    let x = flatten(placed(embedding, concat([before, slice(shown, 1, 0, tokens - 1)], 1), 0, tokens));
    layers.forEach((layer, i) => {
      if (between && i > 0) x = between(x, i);
      const normed = reshape(norm(layer.norm, x), [over(dim(x, 0), tokens), tokens, width]);
      x = add(x, mlp(layer, flatten(causalMean(normed))));
    });
    return norm(last, x);
  };

  return {
    begin: (above) => placed(embedding, prefix(embedding, above), 0, 1),
    teach,
    step({ guided }) {
      const rows = times(guided ? 2 : 1, "R");
      const begun = input("prefix", "float32", [rows, 1, width]);
      const position = input("position", "int32", [1]);
      const previous = input("patch", "float32", ["R", channels * patch ** 2]);
      const positions = reshape(embedding.positions, [tokens, width]);
      const shown = norm(embedding.norm, add(dense(embedding.patches, previous), rowsOf(positions, position)));
      const at = cast(position, "float32");
      let x = where(less(at, 0.5), flatten(begun), guided ? concat([shown, shown], 0) : shown);
      const sum = layers.map((layer, i) => {
        const total = add(input(`sums.${i}`, "float32", [rows, width]), norm(layer.norm, x));
        x = add(x, mlp(layer, div(total, add(at, 1))));
        return total;
      });
      return { conditions: reshape(norm(last, x), [rows, 1, width]), sum };
    },
    counted: (patches, condition) => ({ out: teach({ patches, conditions: condition }) }),
  };
}

const mean: LevelKind<MeanLevel, MeanStep> = {
  name: "mean",
  schema,
  fault: ({ width }) => (width % 2 === 0 ? undefined : `width ${width} is odd`),
  handsDown: 1,
  order: rasterOrder,
  network,
  decode(level, squares) {
    const { depth, width, channels, patch } = level;
    const rows = squares.ways * squares.rows;
    let sums = Array.from({ length: depth }, () => float32(new Float32Array(rows * width), [rows, width]));
    return decodeInRaster(level, squares, async (step, previous) => {
      const { conditions, sum } = await squares.run({
        prefix: squares.prefix,
        sums,
        patch: float32(previous, [squares.rows, channels * patch ** 2]),
        position: int32([step], [1]),
      });
      sums = sum as typeof sums;
      return conditions;
    });
  },
  memory: ({ depth, width }, { rows, ways }) => ({ sizes: {}, kept: 4 * ways * rows * depth * width }),
  exported: {
    steps: "one step per patch; sums.i start as zeros and are replaced by sum.i.",
    done: "(s + 1) / tokens",
    meanings: {
      patch: "values of the previous patch",
      position: "number of the patch",
      "sums.i": "sums over the previous positions",
      "sum.i": "the new sums.i",
    },
    letters: {},
  },
};

registerLevelKind(mean);

const pixel = { kind: "pixel", width: 12, depth: 1, heads: 2 };
const small = { kind: "mean", width: 8, depth: 2 };
const models: Record<string, object[]> = {
  throughout: [{ ...small, patch: 4, width: 32, depth: 4 }, { ...small, patch: 1 }, pixel],
  "above MAR": [
    { ...small, patch: 4, width: 16 },
    { kind: "mar", patch: 1, width: 8, depth: 1, heads: 2, conditions: 1, guidingPixel: true },
    pixel,
  ],
  "inside MAR": [{ kind: "mar", patch: 4, width: 16, depth: 1, heads: 2 }, { ...small, patch: 1 }, pixel],
};

const modelOf = (levels: object[]): ModelConfig =>
  parseModelConfig({ imageSize: 8, classes: ["a", "b"], levels }, "the test");

const bytes = (count: number, seed: number) =>
  Uint8Array.from({ length: count * 192 }, (_, i) => Math.floor(256 * uniform(seedKey(seed), i >> 4)));
const split = (images: Uint8Array, labels: number[]) =>
  splitOf({ images, labels: Int32Array.from(labels), names: labels.map(String) });
const dataset: Dataset = {
  name: "noise",
  source: "noise",
  classes: ["a", "b"],
  size: 8,
  channels: 3,
  skipped: [],
  notes: [],
  fingerprint: "noise",
  train: split(bytes(4, 1), [0, 1, 0, 1]),
  heldOut: split(bytes(2, 2), [0, 1]),
};

const engine = await nodeEngine({ threads: 1 });
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-third-"));
afterAll(() => rmSync(temporary, { recursive: true }));

async function last(frames: AsyncGenerator<Frame, Uint8Array>): Promise<Uint8Array> {
  for (;;) {
    const next = await frames.next();
    if (next.done) return next.value;
  }
}

const numbers = ({ step, values, average }: TrainingState) =>
  Buffer.concat([Float32Array.of(step), ...values.values(), ...average.values()].map((x) => Buffer.from(x.buffer)));

describe.each(firstOf(Object.entries(models)))("a custom kind, %s", (name, levels) => {
  const model = modelOf(levels);
  const training = parseTrainingConfig(
    { steps: 4, batch: 4, microBatch: 2, learningRate: 0.02, warmup: 0, ema: 0.5 },
    "the test",
  );
  const run = async (state: TrainingState, settings = training, until = settings.steps) => {
    const losses: number[] = [];
    const stop = new AbortController();
    for await (const record of train(engine, { model, training: settings, dataset, state, signal: stop.signal })) {
      if (record.kind === "step") losses.push(record.loss);
      if (state.step >= until) stop.abort();
    }
    return losses;
  };
  const folder = join(temporary, name);
  const trained = startingState(model, 1, { ema: 0.5 });
  let losses: number[] = [];

  it("trains, and resumes with bit-identical results", async () => {
    losses = await run(trained);
    expect(losses[3]).toBeLessThan(losses[0]);
    const state = startingState(model, 1, { ema: 0.5 });
    await run(state, training, 2);
    await saveCheckpoint(folder, { model, training, dataset: { source: "noise" }, state });
    const resumed = await loadCheckpoint(folder);
    expect(resumed.state.step).toBe(2);
    expect(await run(resumed.state)).toEqual(losses.slice(2));
    expect(numbers(resumed.state).equals(numbers(trained))).toBe(true);
  });

  it("trains the same with checkpoints within its level", async () => {
    const state = startingState(model, 1, { ema: 0.5 });
    const found = await run(state, { ...training, checkpointing: true });
    found.forEach((loss, i) => expect(loss / losses[i]).toBeCloseTo(1, 4));
  });

  it("supports sampling, editing and likelihood", async () => {
    await writeModelFolder(folder, model, trained.values);
    const external = externalModel(readModelFolder(folder));
    const sampler = createSampler(engine, external);
    const labels = [0, 1, 1];
    const images = await last(sampler.sample({ labels, guidance: 2, seed: 1 }));
    expect(new Set(images).size).toBeGreaterThan(50);
    expect(await last(sampler.sample({ labels, guidance: 2, seed: 1, batch: 1 }))).toEqual(images);

    const original = bytes(1, 3);
    const mask = halfMask(8, "top");
    const edited = await last(edit(sampler, original, mask, { labels, guidance: 2 }));
    mask.forEach((drawn, at) => {
      if (!drawn) expect([...edited.subarray(3 * at, 3 * at + 3)]).toEqual([...original.subarray(3 * at, 3 * at + 3)]);
    });
    expect(edited).not.toEqual(images);
    const hole = rectangleMask(8, { x: 1, y: 1, width: 2, height: 2 });
    const redrawn = last(edit(sampler, original, hole, { labels }));
    if (followsAnyMask(model)) expect((await redrawn).length).toBe(images.length);
    else await expect(redrawn).rejects.toThrow(/^mask: the first level of this model/);

    // If the likelihood is exact, the likelihood of a sample is the product of the probabilities it was drawn with.
    let drawnBits = 0;
    const alone = await last(
      sampler.sample({
        labels: [1],
        seed: 4,
        guidance: 1,
        temperature: 1,
        watch: ({ bytes, probabilities }) =>
          bytes.forEach((byte, i) => (drawnBits -= Math.log2(probabilities[i * 256 + byte]))),
      }),
    );
    await sampler.dispose();
    for (const inOrder of [false, true])
      for await (const { bits } of likelihoods(engine, external, split(alone, [1]), { inOrder, conditional: true })) {
        expect(bits).toBeGreaterThan(1);
        if (likelihoodOf(model, { inOrder }) === "exact") expect((bits * 192) / drawnBits).toBeCloseTo(1, 4);
      }
    expect(likelihoodOf(model)).toBe(name === "throughout" ? "exact" : "estimate");
  });

  it("supports the manifest, complexity counts and quantization", () => {
    const { levels: described, graphs, calls } = manifest(model, { weights: "w" });
    expect(described.map(({ kind }) => kind)).toEqual(model.levels.slice(0, -1).map(({ kind }) => kind));
    expect(calls.join("\n")).toContain("Steps of a level of kind mean: one step per patch; sums.i start as zeros");
    const l = described.findIndex(({ kind }) => kind === "mean");
    expect(graphs[`level${l}-step-guided.onnx`].inputs.map((one) => one.name)).toContain("sums.1");

    const counted = complexity(model);
    const parameters = modelParameters(model).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(counted.reduce((sum, level) => sum + level.parameters, 0)).toBe(parameters);
    const { kind, layers, heads, operations } = counted[l];
    expect([kind, layers, heads]).toEqual(["mean", (model.levels[l] as MeanLevel).depth, undefined]);
    expect(operations).toBeGreaterThan(0);

    const own = `${"next_fractal.".repeat(l)}generator.blocks.`;
    const stored = storedTensors({ ...model, dtype: "q8" }).filter(({ dtype }) => dtype === "int8");
    const wide = stored.filter((one) => one.name.startsWith(own)).length; // matrices with at least 32 columns
    expect(wide).toBe({ throughout: 8, "above MAR": 2, "inside MAR": 0 }[name]);
    const iterations = [4, 4];
    const size = { batch: 2, lanes: 1, guided: true, iterations, weightBytes: 1e5 };
    expect(samplingBytes(model, { ...size, batch: 4000 })).toBeGreaterThan(samplingBytes(model, size));
    expect(trainingBytes(model, 64, { batch: 64, lanes: 1 })).toBeGreaterThan(trainingBytes(model, 1, { batch: 64, lanes: 1 })); // prettier-ignore
  });
});

it("can be quantized and exported", async () => {
  const [[name, levels]] = Object.entries(models);
  const model = modelOf(levels);
  const [folder, quantized, out] = ["whole", "few-bits", "exported"].map((part) => join(temporary, `${name} ${part}`));
  await writeModelFolder(folder, model, startingState(model, 5, { ema: 0 }).values);
  await quantizeFolder(readModelFolder(folder), quantized, { dtype: "q8" });
  const model8 = readModelFolder(quantized);
  const sampler = createSampler(engine, externalModel(model8));
  const images = await last(sampler.sample({ labels: [0, 1], seed: 1 }));
  expect(await last(sampler.sample({ labels: [0, 1], seed: 1, batch: 1 }))).toEqual(images);
  await sampler.dispose();
  const { graphs } = await exportOnnx(model8, out);
  expect(readdirSync(out).filter((file) => file.endsWith(".onnx"))).toHaveLength(graphs);
  expect(JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")).levels[0].kind).toBe("mean");
});

describe("the configuration of a kind", () => {
  it.each([
    [{ ...small, patch: 4, widht: 8 }, /levels\[0\] has an unknown key "widht"; did you mean "width"\?$/],
    [{ ...small, patch: 4, width: 7 }, /levels\[0\]: width 7 is odd$/],
    [{ ...small, patch: 3 }, /levels\[0\]: patch 3 does not divide the 8 pixels/],
    [{ ...small, kind: "means" }, /levels\[0\]/],
  ])("is validated: %o", (level, message) => {
    expect(() => modelOf([level, { ...small, patch: 1 }, pixel])).toThrow(message);
  });

  it("needs a unique name", () => {
    expect(() => registerLevelKind(mean)).toThrow('level kind "mean" is already registered');
  });

  it("does not compile if a part is missing", () => {
    const { memory: _, ...rest } = mean;
    // @ts-expect-error
    expect(() => registerLevelKind(rest)).toThrow("already");
  });
});
