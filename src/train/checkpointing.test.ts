/** Gradient checkpointing: it computes the same loss and gradients in parts, with less memory. */

import { describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { parseTrainingConfig } from "../config/training.ts";
import { presetFor } from "../config/presets.ts";
import { publishedNames, publishedPreset } from "../config/published.ts";
import { nodeEngine } from "../engine/node.ts";
import { type TrainingOptions, trainingParts } from "../model/training.ts";
import { trainingMasks } from "./batches.ts";
import { startingState } from "./state.ts";
import { trainingShare } from "./share.ts";
import { settingsWithin, trainingBytes } from "./memory.ts";
import { trainingStep } from "./step.ts";
import { tinyModel } from "./tiny.ts";
import { firstOf, thorough } from "../test-depth.ts";

const engine = await nodeEngine({ threads: 1 });
const small = { width: 8, depth: 1, heads: 2 };
const mar = { kind: "mar", ...small };
const ar = { kind: "ar", ...small };
const model = (imageSize: number, levels: object[]): ModelConfig =>
  parseModelConfig(
    { imageSize, channels: 2, classes: ["a", "b"], levels: [...levels, { kind: "pixel", ...small }] },
    "the test",
  );

/** A model, and the number of parts its blocks are split into. */
const models: [string, ModelConfig, number][] = [
  ["one MAR level", model(4, [{ ...mar, patch: 1, depth: 5 }]), 3],
  ["one AR level", model(2, [{ ...ar, patch: 1, depth: 2 }]), 2],
  ["two AR levels", model(4, [{ ...ar, patch: 2, depth: 3 }, { ...ar, patch: 1, depth: 2 }]), 3],
  ["three levels, guiding pixels", model(8, [{ ...mar, patch: 4, depth: 2 }, { ...mar, patch: 2, depth: 2, guidingPixel: true }, { ...mar, patch: 1, guidingPixel: true }]), 5],
  ["four levels, mixed", model(16, [{ ...mar, patch: 8 }, { ...ar, patch: 4, depth: 2 }, { ...mar, patch: 2, conditions: 1, guidingPixel: true }, { ...mar, patch: 1 }]), 5],
]; // prettier-ignore

describe.each(firstOf(models, 2))("%s", (_, config, count) => {
  it("is split into parts", () => {
    expect(trainingParts(config, { checkpointing: true })).toHaveLength(count);
    expect(trainingParts(config)).toHaveLength(1);
  });

  it("computes the same loss, bits and gradients, with and without dropout", async () => {
    const { values } = startingState(config, 1, { ema: 0 });
    // Biases and norms start at 0 and 1, which would hide some mistakes.
    for (const value of values.values()) value.forEach((x, i) => (value[i] = x + 0.1 * Math.sin(7 * i)));
    const batch = {
      // The upper quarter of each image has one colour.
      images: Uint8Array.from({ length: 3 * config.imageSize ** 2 * 2 }, (_, i) =>
        (i / 2 / config.imageSize) % config.imageSize < config.imageSize / 4 ? 40 : (i * 2654435761) >>> 24,
      ),
      labels: Int32Array.of(1, 2, 0),
    };
    const masks = trainingMasks(1, 0, { maskRate: 0.6 });
    const share = trainingShare(parseTrainingConfig({ innerShare: [0.6, 0.5], innerChoice: "detail" }, "the test"), 0);
    const run = async (options: TrainingOptions, microBatch: number) => {
      const step = await trainingStep(engine, config, options);
      const result = await step.run(values, batch, { masks, share, seed: 9, microBatch });
      await step.dispose();
      return { ...result, gradients: step.gradients };
    };
    const losses: number[] = [];
    for (const rates of [{}, { attentionDropout: 0.2, projectionDropout: 0.3 }]) {
      const plain = await run(rates, 3);
      const parts = await run({ ...rates, checkpointing: true }, 2);
      expect(Math.abs(parts.loss / plain.loss - 1)).toBeLessThan(1e-6);
      expect(Math.abs(parts.bits / plain.bits - 1)).toBeLessThan(1e-6);
      for (const [name, gradient] of plain.gradients) {
        const largest = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 1e-6);
        const error = gradient.reduce((most, g, i) => Math.max(most, Math.abs(g - parts.gradients.get(name)![i])), 0);
        expect(error / largest, name).toBeLessThan(1e-4);
      }
      losses.push(plain.loss);
    }
    expect(Math.abs(losses[1] / losses[0] - 1)).toBeGreaterThan(1e-5);
  });
});

describe("the memory of training", () => {
  it.each(publishedNames)("of %s is under 20 GB with checkpointing", (name) => {
    const given = { batch: 1, lanes: 1, ema: 0, checkpointing: true };
    expect(trainingBytes(publishedPreset(name), 1, given)).toBeLessThan(20e9);
  });

  it.runIf(thorough)("chooses checkpointing only if nothing fits without it", () => {
    const config = publishedPreset("fractalmar_base_in256");
    const options = { batch: 8, lanes: 1, ema: 0 };
    const [plain, parts] = [false, true].map((checkpointing) =>
      trainingBytes(config, 1, { ...options, checkpointing }),
    );
    expect(parts).toBeLessThan(0.8 * plain);
    expect(settingsWithin(config, options, plain)).toEqual({ microBatch: 1, checkpointing: false });
    expect(settingsWithin(config, options, plain - 1)).toMatchObject({ checkpointing: true });
    expect(settingsWithin(config, { ...options, checkpointing: true }, 1e12)).toEqual({ microBatch: 8, checkpointing: true }); // prettier-ignore
    expect(() => settingsWithin(config, { ...options, ema: 0.9 }, parts)).toThrow(
      /about \d\.\d\d GB even with one image at a time and checkpointing, but only .*allow more memory.*train without an average of the weights, which saves 745 MB/,
    );
  });

  it("counts Muon's momenta, updates and working memory, as measured for the preset base", () => {
    const { model } = presetFor({ size: "base", kind: "mar" }, { imageSize: 32 });
    const config = parseModelConfig({ ...model, classes: ["one"] }, "the preset");
    const [adamw, muon] = (["adamw", "muon"] as const).map((optimizer) =>
      trainingBytes(config, 1, { batch: 16, lanes: 1, optimizer }),
    );
    expect((muon - adamw) / 472e6).toBeGreaterThan(0.8);
    expect((muon - adamw) / 472e6).toBeLessThan(1.5);
  });

  it("reports the memory needed if nothing fits", () => {
    const options = { batch: 2, lanes: 2, ema: 0 };
    expect(() => settingsWithin(tinyModel(), options, 1e6)).toThrow(
      /^training this model takes about \d+ MB .*only 1\.0 MB is available; allow more memory, use one thread or use a smaller model$/,
    );
  });
});
