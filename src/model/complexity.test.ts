/**
 * Operations per level compared with the paper's complexity table, and their total with the graph of the whole
 * likelihood.
 */

import { describe, expect, it } from "vitest";
import { product } from "../core/arrays.ts";
import { type ModelConfig, parseModelConfig, placedLevels } from "../config/model.ts";
import { publishedPreset } from "../config/published.ts";
import { floatingPointOperations } from "../graph/cost.ts";
import { complexity } from "./complexity.ts";
import { lossGraph } from "./loss.ts";
import { modelParameters } from "./parameters.ts";

const billions = (name: string) => complexity(publishedPreset(name)).map(({ operations }) => operations / 1e9);

describe("operations counted as in the paper", () => {
  it("match the paper for FractalMAR-Large above the pixels", () => {
    const [first, second, third, pixels] = billions("fractalmar_large_in256");
    expect([first, second, third].map((count, l) => Math.abs(count / [215, 208, 419][l] - 1) < 0.005)).toEqual([
      true,
      true,
      true,
    ]);
    // The first channel's query is not counted here (2 x 65536 x 64 x 64, 2.5% of the level). The remaining difference
    // is rounding in the paper.
    expect(Math.round(pixels + (2 * 65536 * 64 ** 2) / 1e9)).toBe(22);
  });

  it("match the paper for FractalMAR at 64x64", () => {
    const counts = billions("fractalmar_in64");
    expect(counts.slice(0, 2).map(Math.round)).toEqual([215, 208]);
    expect(Math.abs(counts.reduce((a, b) => a + b) / 438 - 1)).toBeLessThan(0.005);
  });

  it("grow with the square of the width and with the depth", () => {
    const of = (width: number, depth: number) => complexity(mixed({ width, depth }))[0].operations;
    const [small, wide, deep] = [of(64, 1), of(128, 1), of(64, 2)];
    expect(wide / small).toBeGreaterThan(3);
    expect(wide / small).toBeLessThan(4);
    expect(deep / small).toBeGreaterThan(1.8);
    expect(deep / small).toBeLessThan(2);
  });
});

/** All kinds, a guiding pixel, four levels. */
const mixed = ({ width = 16, depth = 2 } = {}): ModelConfig =>
  parseModelConfig(
    {
      imageSize: 32,
      classes: ["one", "two"],
      levels: [
        { kind: "mar", patch: 8, width, depth, heads: 2 },
        { kind: "mar", patch: 4, width: 16, depth: 2, heads: 2, guidingPixel: true },
        { kind: "ar", patch: 1, width: 16, depth: 1, heads: 2 },
        { kind: "pixel", width: 8, depth: 1, heads: 2 },
      ],
    },
    "the test",
  );

describe("levels", () => {
  it("add up to the graph of the whole likelihood", () => {
    const config = mixed();
    const sizes = new Map([["B", 1]]);
    placedLevels(config).reduce((squares, { tokens }, l) => {
      sizes.set(`R${l + 1}`, squares * tokens);
      return squares * tokens;
    }, 1);
    const { loss, nats, guidingNats } = lossGraph(config);
    const whole = floatingPointOperations({ loss, nats, guiding: guidingNats.get(1)! }, sizes);
    expect(complexity(config).reduce((sum, level) => sum + level.likelihoodOperations, 0)).toBe(whole);
  });

  it("contain all parameters, and in blocks all but embeddings and norms", () => {
    const levels = complexity(publishedPreset("fractalmar_large_in256"));
    const all = modelParameters(publishedPreset("fractalmar_large_in256"));
    expect(levels.reduce((sum, { parameters }) => sum + parameters, 0)).toBe(
      all.reduce((sum, { shape }) => sum + product(shape), 0),
    );
    // The paper gives 403M, 25M and 3M, and 0.1M for the whole pixel level.
    expect(levels.slice(0, 3).map(({ blockParameters }) => Math.round(blockParameters / 1e6))).toEqual([403, 25, 3]);
    expect((levels[3].parameters / 1e6).toFixed(1)).toBe("0.1");
  });

  it("report how many squares they generate, and with how many tokens", () => {
    expect(complexity(mixed()).map(({ kind, patch, squares, sequence }) => [kind, patch, squares, sequence])).toEqual([
      ["mar", 8, 1, 16],
      ["mar", 4, 16, 4],
      ["ar", 1, 64, 16],
      ["pixel", 1, 1024, 3],
    ]);
  });
});
