/**
 * The paper's models compared with the parameter counts and settings of its README, and ImageNet's classes by number.
 */

import { describe, expect, it } from "vitest";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { modelParameters } from "../model/parameters.ts";
import { imagenetClasses } from "./imagenet-classes.ts";
import { placedLevels, prefixTokens } from "./model.ts";
import { publishedNames, publishedPreset } from "./published.ts";

describe("a published model", () => {
  it.each([
    ["fractalar_in64", 442.068, 432],
    ["fractalmar_in64", 431.996, 432],
    ["fractalmar_base_in256", 186.3, 186],
    ["fractalmar_large_in256", 437.0, 438],
    ["fractalmar_huge_in256", 849.586, 848],
  ])("%s has %f million parameters (README: %i)", (name, millions, said) => {
    const count = modelParameters(publishedPreset(name)).reduce((sum, { shape }) => sum + product(shape), 0) / 1e6;
    expect(count).toBeCloseTo(millions, 3);
    // The README gives 432M for both 64x64 models; FractalAR is larger because its layer widths are rounded up to a
    // multiple of 256.
    expect(Math.abs(count / said - 1)).toBeLessThan(name === "fractalar_in64" ? 0.025 : 0.0025);
  });

  it("has the settings of the published commands", () => {
    const settings = publishedNames.map((name) => publishedPreset(name).sampling);
    expect(settings.map(({ guidance, temperature }) => [guidance, temperature])).toEqual([
      [11, 1.03],
      [6.5, 1.02],
      [29, 1.1],
      [21, 1.1],
      [19, 1.1],
    ]);
    for (const { iterations, ...others } of settings) {
      expect([64, 16, 16].slice(0, iterations!.length)).toEqual(iterations);
      expect(others).toMatchObject({ schedule: "linear", filterThreshold: 0.0001 });
    }
  });

  it("has the published levels", () => {
    expect(publishedPreset("fractalar_in64").levels).toEqual([
      { kind: "ar", patch: 4, width: 1024, depth: 32, heads: 16 },
      { kind: "ar", patch: 1, width: 512, depth: 8, heads: 8 },
      { kind: "pixel", width: 128, depth: 3, heads: 4 },
    ]);
    expect(publishedPreset("fractalmar_base_in256").levels).toEqual([
      { kind: "mar", patch: 16, width: 768, depth: 24, heads: 12, conditions: 5, guidingPixel: false },
      { kind: "mar", patch: 4, width: 384, depth: 6, heads: 6, conditions: 5, guidingPixel: true },
      { kind: "mar", patch: 1, width: 192, depth: 3, heads: 3, conditions: 5, guidingPixel: true },
      { kind: "pixel", width: 64, depth: 1, heads: 4 },
    ]);
    const large = placedLevels(publishedPreset("fractalmar_large_in256"));
    expect(large.map((level) => [level.tokens, prefixTokens(level)])).toEqual([
      [256, 5],
      [16, 6],
      [16, 6],
    ]);
  });

  it("of an unknown name gets an error that suggests the nearest", () => {
    expect(() => publishedPreset("fractalmar_in46")).toThrow(UserError);
    expect(() => publishedPreset("fractalmar_in46")).toThrow(
      /fractalmar_huge_in256; did you mean "fractalmar_in64"\?$/,
    );
    expect(() => publishedPreset("toString")).toThrow(UserError);
  });
});

describe("ImageNet's classes", () => {
  it("are a thousand with unique names", () => {
    expect(imagenetClasses.length).toBe(1000);
    expect(new Set(imagenetClasses.map((name) => name.toLowerCase())).size).toBe(1000);
    expect(
      imagenetClasses.filter((name) => !/^[A-Za-z][A-Za-z'., -]*[a-zA-Z.]$/.test(name) || /\s,|\s\s/.test(name)),
    ).toEqual([]);
  });

  it.each([
    [0, "tench, Tinca tinca"],
    [2, "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias"],
    [134, "crane, crane bird"],
    [207, "golden retriever"],
    [281, "tabby, tabby cat"],
    [388, "giant panda, panda, panda bear, coon bear, Ailuropoda melanoleuca"],
    [417, "balloon"],
    [517, "crane, construction crane"],
    [639, "maillot, tank suit"],
    [985, "daisy"],
    [999, "toilet tissue, toilet paper, bathroom tissue"],
  ])("%i is %s", (label, name) => expect(imagenetClasses[label]).toBe(name));
});
