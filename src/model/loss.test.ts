/** The likeliest bytes reported by the loss graph, compared with its own logits. */

import { describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { float32, type HostTensor, product } from "../core/arrays.ts";
import { derive, normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { named } from "../graph/tree.ts";
import { lossGraph } from "./loss.ts";
import { modelParameters } from "./parameters.ts";
import { lossFeeds, planPass } from "./plan.ts";

const engine = await nodeEngine({ threads: 1 });
const small = { width: 8, depth: 1, heads: 2 };
const count = 2;

/** An AR model with one level, which predicts all pixels of a 4x4 image in raster order. */
const model = (channels: number) => {
  const levels = [
    { kind: "ar", patch: 1, ...small },
    { kind: "pixel", ...small },
  ];
  return parseModelConfig({ imageSize: 4, channels, classes: ["a"], levels }, "the test");
};

interface Given {
  /** A parameter's value at index `at`; `i` is the number of the parameter. */
  value: (name: string, i: number, at: number) => number;
  byte: (at: number) => number;
}

/** Logits [K, 256] of each channel; the probability of the likeliest byte, and whether it is correct: [K * C]. */
async function run(channels: number, { value, byte }: Given) {
  const config = model(channels);
  const batch = {
    images: Uint8Array.from({ length: count * 16 * channels }, (_, at) => byte(at)),
    labels: Int32Array.of(0, 1),
  };
  const plan = planPass(config, count, () => new Uint8Array());
  const feeds: Record<string, HostTensor> = named(lossFeeds(config, batch, plan));
  modelParameters(config).forEach(({ name, shape }, i) => {
    const values = Float32Array.from({ length: product(shape) }, (_, at) => value(name, i, at));
    feeds[name] = float32(values, shape);
  });
  const { logits, likeliest } = lossGraph(config);
  const each = Object.fromEntries(logits.map((tensor, c) => [`logits.${c}`, tensor]));
  const session = await engine.session(writeOnnx({ ...each, ...likeliest }));
  const { probability, right, ...results } = await session.run(feeds);
  await session.dispose();
  for (const { shape } of [probability, right]) expect(shape).toEqual([count * 16, channels]);
  return {
    logits: logits.map((_, c) => results[`logits.${c}`].data as Float32Array),
    probability: [...(probability.data as Float32Array)],
    right: [...(right.data as Float32Array)],
  };
}

describe.each([1, 3])("with %i channels", (channels) => {
  const random: Given["value"] = (_, i, at) => normal(derive(seedKey(2), i), at);

  it("the likeliest byte has the probability of the largest logit, and is correct if it is the pixel's byte", async () => {
    const byte = (at: number) => (at * 37) % 256;
    const { logits, probability, right } = await run(channels, { value: random, byte });
    const rows = probability.map((_, at) => {
      const [k, c] = [Math.floor(at / channels), at % channels];
      return logits[c].subarray(k * 256, (k + 1) * 256);
    });
    rows.forEach((row, at) => {
      const largest = row.reduce((a, b) => Math.max(a, b));
      const total = row.reduce((sum, one) => sum + Math.exp(one - largest), 0);
      expect(probability[at]).toBeCloseTo(1 / total, 5);
      expect(right[at]).toBe(Number(row[byte(at)] === largest));
    });

    // No other value depends on the last value of the last image, so replacing it by the likeliest byte makes only this
    // one correct.
    const last = rows.length - 1;
    const likeliest = rows[last].indexOf(rows[last].reduce((a, b) => Math.max(a, b)));
    expect(right[last]).toBe(0);
    const other = await run(channels, { value: random, byte: (at) => (at === last ? likeliest : byte(at)) });
    expect(other.right).toEqual(right.with(last, 1));
  });

  it("if n bytes tie for likeliest, the correct one counts 1 / n and the others 0", async () => {
    const tied = new Set([7, 9, 200]);
    const value: Given["value"] = (name, _, at) => (name.endsWith("mlm.bias") && tied.has(at) ? 2 : 0);
    const byte = (at: number) => [7, 8, 200, 0, 9][at % 5];
    const { probability, right } = await run(channels, { value, byte });
    const each = Math.exp(2) / (3 * Math.exp(2) + 253);
    probability.forEach((one) => expect(one).toBeCloseTo(each, 6));
    right.forEach((one, at) => expect(one).toBeCloseTo([1 / 3, 0, 1 / 3, 0, 1 / 3][at % 5], 6));
  });

  it("in a model with equal logits, every byte counts as correct 1 / 256", async () => {
    const { probability, right } = await run(channels, { value: () => 0, byte: (at) => (at * 5) % 256 });
    expect([...probability, ...right].every((one) => Math.abs(one * 256 - 1) < 1e-5)).toBe(true);
  });
});
