/**
 * Presets for every image size: they are valid models of the documented sizes, and impossible sizes get a clear error.
 */

import { describe, expect, it } from "vitest";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { readModelFolder } from "../files/model.ts";
import { modelParameters } from "../model/parameters.ts";
import { parseModelConfig, placedLevels } from "./model.ts";
import { emojiPresetFor, type Preset, presetFor, presetKinds, sizes } from "./presets.ts";
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

  it("has 4, 7 or 24 million parameters at 32x32", () => {
    const at32 = sizes.map((size) => millions(presetFor({ size }, { imageSize: 32 })));
    expect(at32.map((count) => Number(count.toPrecision(2)))).toEqual([4, 7, 24]);
  });

  it("is a valid model with training settings, for every kind, size and number of channels", () => {
    for (const kind of presetKinds)
      for (const size of sizes)
        for (const channels of [1, 2, 3, 4])
          for (const imageSize of [4, 28, 48, 65, 128, 1024]) {
            const preset = presetFor({ kind, size }, { imageSize, channels });
            const above = modelOf(preset).levels.slice(0, -1);
            expect(above.map((level) => level.kind)).toEqual(
              above.map((_, l) => (kind !== "mix" ? kind : l === 0 ? "mar" : "ar")),
            );
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

  it("for the emoji has the levels of the included model, and balances the classes", () => {
    const { model, training } = emojiPresetFor({}, { imageSize: 32, images: 9044 });
    const { levels } = readModelFolder("models/emoji").config;
    expect(modelOf({ model, training }).levels).toEqual(levels);
    expect(model.sampling).toMatchObject({ guidance: 2, temperature: 1, iterations: [32, 16] });
    expect(training).toMatchObject({ steps: 11_305, batch: 16, balance: 0.3 });
  });

  it("has three levels above the pixels for large images: the inner ones of a mix are AR, below MAR with its five outputs", () => {
    const { model } = presetFor({}, { imageSize: 128 });
    expect(model.levels).toMatchObject([
      { kind: "mar", conditions: 5 },
      { kind: "ar", conditions: 5 },
      { kind: "ar" },
      { kind: "pixel" },
    ]);
    expect(model.levels[2]).not.toHaveProperty("conditions");
    expect(model.sampling.iterations).toEqual([32, 16, 16]);
    const ar = presetFor({ kind: "ar" }, { imageSize: 28 });
    expect(ar.model.sampling.iterations).toEqual([49, 16]); // in raster order, one step per patch
  });

  it("uses the default recipe, or the published one on request", () => {
    const published = presetFor({ recipe: "published" }, { imageSize: 32 });
    expect(published.model.redWeight).toBe(5);
    expect(published.training).toMatchObject({ learningRate: 0.0014 });
    expect(published.training.optimizer).toBeUndefined(); // AdamW
    expect(published.model.levels.map(({ kind }) => kind)).toEqual(["mar", "mar", "pixel"]);
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
