/** Sums of predictions made by hand, and of whole models, where they add up to the bits of the image. */

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parseModelConfig, placedLevels } from "../config/model.ts";
import { float32, type HostTensor } from "../core/arrays.ts";
import { splitOf } from "../data/dataset.ts";
import { nodeEngine } from "../engine/node.ts";
import { readCase } from "../parity/case.ts";
import { addBreakdown, addPredictions, calibrationOf, emptyBreakdown, levelsOf } from "./breakdown.ts";
import { likelihoods, type LikelihoodOptions } from "./likelihood.ts";

const small = { width: 8, depth: 1, heads: 1 };
/** 2x2 pixels with two channels, in one level. */
const config = parseModelConfig(
  { imageSize: 2, channels: 2, classes: ["a"], levels: [{ kind: "mar", patch: 1, ...small }, { kind: "pixel", ...small }] },
  "the test",
); // prettier-ignore

/** A run's results for three pixels, two of image 0 and one of image 1; a pair of values each, for two channels. */
const predictions = {
  pixels: {
    image: Int32Array.of(0, 1, 0),
    x: new Int32Array(3),
    y: new Int32Array(3),
    weight: Float64Array.of(1, 1, 3),
  },
  known: [Int32Array.of(3, 0, 0)],
  results: {
    nats: float32([1, 2, 4, 4, 0.5, 1.5], [3, 2]),
    probability: float32([0.12, 1, 0.5, 0.5, 0.14, 0.96], [3, 2]),
    right: float32([1, 1, 0, 1, 0, 0.5], [3, 2]),
  },
};

/** The breakdowns of the two images. */
function byHand() {
  const images = [emptyBreakdown(config), emptyBreakdown(config)];
  addPredictions((image) => images[image], predictions);
  return images;
}

describe("predictions by hand", () => {
  it("are weighted, and sorted into twenty bins by their probability", () => {
    const [first] = byHand();
    const { channels, bins, error } = calibrationOf(first);
    const near = (value: number) => expect.closeTo(value, 6);
    // Both of the first channel are between 0.1 and 0.15: 0.12 with weight 1 is right, 0.14 with weight 3 is wrong.
    expect(channels[0]).toEqual({
      error: near(0.25 - 0.135),
      bins: [{ from: 2 / 20, to: 3 / 20, share: 1, probability: near(0.135), accuracy: 0.25 }],
    });
    // Probabilities of 1 and 0.96 share the last bin.
    expect(channels[1]).toEqual({
      error: near(0.97 - 0.625),
      bins: [{ from: 19 / 20, to: 1, share: 1, probability: near(0.97), accuracy: near(0.625) }],
    });
    expect(bins.map(({ from, share }) => [from, share])).toEqual([
      [0.1, 0.5],
      [0.95, 0.5],
    ]);
    expect(error).toBeCloseTo((0.115 + 0.345) / 2, 6);
  });

  it("add up to bits by the number of known patches of the square", () => {
    const [first, second] = byHand();
    const bits = (nats: number) => expect.closeTo(nats / Math.LN2, 9);
    // None known: 0.5 and 1.5 nats, with weight 3; three known: 1 and 2 nats, with weight 1.
    expect(levelsOf(first)).toEqual([[{ known: 0, share: 0.75, bits: bits(1) }, { known: 3, share: 0.25, bits: bits(1.5) }]]); // prettier-ignore
    expect(levelsOf(second)).toEqual([[{ known: 0, share: 1, bits: bits(4) }]]);
  });

  it("of several images are added up by their weights", () => {
    const [first, second] = byHand();
    const total = emptyBreakdown(config);
    addBreakdown(total, first);
    addBreakdown(total, second);
    const together = emptyBreakdown(config);
    addPredictions(() => together, predictions);
    expect(total).toEqual(together);
    expect(levelsOf(total)[0][0]).toEqual({ known: 0, share: 0.8, bits: expect.closeTo(7 / 4 / Math.LN2, 9) });
    expect(first).toEqual(byHand()[0]); // the addends are unchanged
  });

  it("that are empty have no bins", () => {
    const none = emptyBreakdown(config);
    expect(calibrationOf(none)).toEqual({ error: 0, bins: [], channels: [{ error: 0, bins: [] }, { error: 0, bins: [] }] }); // prettier-ignore
    expect(levelsOf(none)).toEqual([[]]);
  });
});

describe.each([
  ["ar-3level", "exact", {}],
  ["mar-4level-guided", "an estimate", { passes: 3 }],
  ["mar-3level", "an order", { inOrder: true }],
] satisfies [string, string, LikelihoodOptions][])("of %s, %s", async (name, _, options) => {
  const recorded = await readCase(fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url)));
  const { data, shape } = recorded.expected("images.u8") as HostTensor<Uint8Array>;
  const [count] = shape;
  const split = splitOf({ images: data, labels: new Int32Array(count), names: new Array<string>(count).fill("") });
  const engine = await nodeEngine({ threads: 1 });
  const model = { config: recorded.config, values: recorded.weights };

  it("the sums add up to the image's bits at every level, and computing them changes nothing", async () => {
    const plain: number[] = [];
    for await (const { bits, breakdown } of likelihoods(engine, model, split, options)) {
      expect(breakdown).toBeUndefined();
      plain.push(bits);
    }
    for await (const { index, bits, breakdown } of likelihoods(engine, model, split, { ...options, breakdown: true })) {
      expect(bits).toBeCloseTo(plain[index], 6);
      const levels = levelsOf(breakdown!);
      expect(levels).toHaveLength(placedLevels(model.config).length);
      for (const points of levels) {
        expect(points.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
        expect(points.reduce((sum, { share, bits }) => sum + share * bits, 0)).toBeCloseTo(bits, 5);
      }
      const { bins, channels, error } = calibrationOf(breakdown!);
      expect(bins.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
      expect(channels).toHaveLength(3);
      for (const { from, to, probability, accuracy } of bins) {
        expect(probability).toBeGreaterThanOrEqual(from - 1e-6);
        expect(probability).toBeLessThanOrEqual(to + 1e-6);
        expect(accuracy >= 0 && accuracy <= 1).toBe(true);
      }
      expect(error).toBeGreaterThan(0);
    }
  });
});
