/**
 * Presets for every image size: they are valid models of the documented sizes, and impossible sizes get a clear error.
 */

import { describe, expect, it } from "vitest";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { modelParameters } from "../model/parameters.ts";
import { parseModelConfig, placedLevels } from "./model.ts";
import { emojiPreset, type Preset, presetFor, sizes } from "./presets.ts";
import { parseTrainingConfig } from "./training.ts";

const modelOf = ({ model }: Preset) => parseModelConfig({ ...model, classes: ["any"] }, "the preset");
const millions = (preset: Preset) =>
  modelParameters(modelOf(preset)).reduce((sum, { shape }) => sum + product(shape), 0) / 1e6;

describe("a preset", () => {
  it.each([
    [28, [4, 1]],
    [32, [4, 1]],
    [64, [4, 1]],
    [96, [16, 4, 1]],
    [100, [20, 4, 1]],
    [128, [16, 4, 1]],
    [256, [16, 4, 1]],
  ])("divides %ix%i pixels into patches of %j", (imageSize, patches) => {
    expect(placedLevels(modelOf(presetFor({}, { imageSize }))).map(({ patch }) => patch)).toEqual(patches);
  });

  it("has 3.1, 5.6 or 23 million parameters at 32x32", () => {
    const at32 = sizes.map((size) => millions(presetFor({ size }, { imageSize: 32 })));
    expect(at32.map((count) => Number(count.toPrecision(2)))).toEqual([3.1, 5.6, 23]);
  });

  it("is a valid model with training settings, for every kind, size and number of channels", () => {
    for (const kind of ["mar", "ar"] as const)
      for (const size of sizes)
        for (const channels of [1, 2, 3, 4])
          for (const imageSize of [4, 28, 48, 65, 128, 1024]) {
            const preset = presetFor({ kind, size }, { imageSize, channels });
            const above = modelOf(preset).levels.slice(0, -1);
            expect(new Set(above.map((level) => level.kind))).toEqual(new Set([kind]));
            expect(parseTrainingConfig(preset.training, "the preset").steps).toBe(preset.training.steps);
          }
  });

  it("avoids grids too large for attention, and single pixels at the first level", () => {
    for (let imageSize = 4; imageSize <= 300; imageSize++) {
      let preset: Preset;
      try {
        preset = presetFor({}, { imageSize });
      } catch {
        continue;
      }
      const levels = placedLevels(modelOf(preset));
      expect(levels.length, `${imageSize}`).toBeGreaterThan(1);
      expect(Math.max(...levels.map(({ grid }) => grid)), `${imageSize}`).toBeLessThanOrEqual(24);
    }
  });

  it("trains longer on more images, within bounds", () => {
    const steps = (images: number) => presetFor({}, { imageSize: 32, images }).training.steps!;
    expect(steps(6000)).toBe(7500); // 20 epochs of batches of 16
    expect([steps(50), steps(1_000_000)]).toEqual([3000, 40_000]);
  });

  it("for the emoji matches the included model", () => {
    expect(emojiPreset.model.levels).toEqual([
      { kind: "mar", patch: 4, width: 192, depth: 6, heads: 6, conditions: 5, guidingPixel: false },
      { kind: "mar", patch: 1, width: 96, depth: 2, heads: 3, conditions: 5, guidingPixel: false },
      { kind: "pixel", width: 64, depth: 1, heads: 4 },
    ]);
    expect(emojiPreset.model.sampling.iterations).toEqual([32, 16]);
    expect(emojiPreset.training).toMatchObject({ steps: 7400, batch: 16, balance: 1 });
  });

  it("uses the default recipe, or the published one on request", () => {
    const published = presetFor({ recipe: "published" }, { imageSize: 32 });
    expect(published.model.redWeight).toBe(5);
    expect(published.training).toMatchObject({ learningRate: 0.0014 });
    expect(published.training.optimizer).toBeUndefined(); // AdamW
    const { model, training } = presetFor({}, { imageSize: 32 });
    expect(model.redWeight).toBe(1);
    expect(training.optimizer).toBe("muon");
  });
});

describe("an image size without a sensible division", () => {
  it.each([
    [31, /31x31 .* such as 30 or 32, .*in a configuration file$/],
    [61, /such as 60 or 63/],
    [97, /such as 96 or 98/],
    [2, /such as 4/],
    [2048, /such as 1536/],
  ])("%i gets an error that names nearby sizes that work", (imageSize, sentence) => {
    expect(() => presetFor({}, { imageSize })).toThrow(UserError);
    expect(() => presetFor({}, { imageSize })).toThrow(sentence);
  });
});
