/**
 * The effect of settings on the distribution of a byte, compared with a plain reference, including ties; and that
 * disabled settings leave no nodes.
 */

import { describe, expect, it } from "vitest";
import { type CutName, drawValues, formOf, samplingNames, samplingSetting, usualForm } from "../config/sampling.ts";
import { publishedPreset } from "../config/published.ts";
import { float32 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { input, reshape } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { distribution, draw, drawInputs, ofChannel } from "./draw.ts";
import { drawingLevels } from "../config/model.ts";
import { pixelGraph } from "./steps.ts";

const categories = 256;

/** Logits [rows, 256] of several shapes: spread out, peaked, with many ties, all equal, with one certain byte. */
function logitRows(): Float32Array[] {
  let state = 3;
  const random = () => (state = (state * 16807) % 2147483647) / 2147483647;
  const row = (of: (i: number) => number) => Float32Array.from({ length: categories }, (_, i) => of(i));
  return [
    ...Array.from({ length: 6 }, (_, i) => row(() => (i + 1) * (random() + random() + random() - 1.5))),
    row(() => Math.floor(4 * random())), // four values, dozens of ties each
    row(() => 1),
    row((i) => (i === 77 ? 60 : random())),
    row((i) => (i % 2 === 0 ? 5 : -5)),
  ];
}

const softmaxOf = (logits: Float32Array): number[] => {
  const most = Math.max(...logits);
  const all = Array.from(logits, (value) => Math.exp(value - most));
  const total = all.reduce((a, b) => a + b, 0);
  return all.map((value) => value / total);
};

/** Which bytes stay, as defined by transformers.js and llama.cpp; bytes of equal probability stay or go together. */
const keeps: Record<CutName, (probabilities: number[], value: number) => (p: number) => boolean> = {
  topP: (all, value) => (p) => all.reduce((sum, other) => sum + (other > p ? other : 0), 0) < value,
  minP: (all, value) => (p) => p >= value * Math.max(...all),
};

/** Probabilities computed by a graph, with one value for all channels or, given a list, with the value of channel 1. */
async function computed(
  rows: readonly Float32Array[],
  settings: Partial<Record<CutName, number | number[]>>,
): Promise<Float32Array[]> {
  const form = { ...usualForm({ guided: false }), ...formOf(settings) };
  const inputs = ofChannel(drawInputs(form, { guided: false, channels: 3 }), 1);
  const logits = input("logits", "float32", ["M", categories]);
  const session = await (await nodeEngine()).session(writeOnnx({ out: distribution(logits, inputs) }));
  const feeds = Object.entries({ temperature: 1, ...settings }).map(([name, value]) => [
    name,
    typeof value === "number" ? float32([value], []) : float32(value, [3]),
  ]);
  const all = Float32Array.from(rows.flatMap((row) => [...row]));
  const { out } = await session.run({ logits: float32(all, [rows.length, categories]), ...Object.fromEntries(feeds) });
  await session.dispose();
  return rows.map((_, i) => (out.data as Float32Array).subarray(i * categories, (i + 1) * categories));
}

function expectLike(found: Float32Array[], rows: readonly Float32Array[], keptAt: (all: number[]) => boolean[]): void {
  rows.forEach((row, i) => {
    const all = softmaxOf(row);
    const kept = keptAt(all);
    const total = all.reduce((sum, p, v) => sum + (kept[v] ? p : 0), 0);
    expect(Array.from(found[i], (p) => p > 0)).toEqual(kept);
    for (let v = 0; v < categories; v++) expect(found[i][v]).toBeCloseTo(kept[v] ? all[v] / total : 0, 5);
  });
}

const cutNames = samplingNames.filter((name): name is CutName => samplingSetting(name).changes === "cut");

describe.each(cutNames)("%s", (name) => {
  const rows = logitRows();
  const values = [0.003, 0.05, 0.3, 0.7, 0.999];

  it.each(values)("at %d keeps what the reference keeps", async (value) => {
    const found = await computed(rows, { [name]: value });
    expectLike(found, rows, (all) => all.map(keeps[name](all, value)));
  });

  it("may differ from channel to channel", async () => {
    const found = await computed(rows, { [name]: [0.9, 0.1, 0.5] });
    expectLike(found, rows, (all) => all.map(keeps[name](all, 0.1)));
  });

  it("leaves no node in any graph when it is off", () => {
    const off = samplingSetting(name).usual as number;
    const config = publishedPreset("fractalmar_base_in256");
    for (const guided of [false, true])
      for (const [place, l] of drawingLevels(config).entries()) {
        const bytesAt = (value?: number) => {
          const form = value === undefined ? undefined : formOf(drawValues({ [name]: value }, place, { guided }));
          const graph = pixelGraph(config, l, { guided, form });
          return Buffer.from(writeOnnx(graph, { weights: () => ({ file: "w", offset: 0, bytes: 4 }) }).bytes);
        };
        expect(bytesAt(off).equals(bytesAt())).toBe(true);
        expect(bytesAt(0.5).equals(bytesAt())).toBe(false);
      }
  });
});

it("applies all settings together, each to the full distribution", async () => {
  const rows = logitRows();
  const value = 0.2;
  const found = await computed(rows, Object.fromEntries(cutNames.map((name) => [name, value])));
  expectLike(found, rows, (all) => all.map((p) => cutNames.every((name) => keeps[name](all, value)(p))));
});

it("draws no byte that is cut off, whatever the uniform", async () => {
  const probabilities = input("probabilities", "float32", ["M", 4]);
  const uniforms = input("uniforms", "float32", ["M", 1]);
  const drawn = reshape(draw(probabilities, uniforms), ["M", 1]);
  const session = await (await nodeEngine()).session(writeOnnx({ drawn }));
  const all = [0, 0.1, 0.3, 0.5, 0.999, 1 - 2 ** -24];
  const { drawn: found } = await session.run({
    probabilities: float32(
      all.flatMap(() => [0, 0.5, 0.5, 0]),
      [all.length, 4],
    ),
    uniforms: float32(all, [all.length, 1]),
  });
  expect([...(found.data as Int32Array)]).toEqual([1, 1, 1, 2, 2, 2]);
  await session.dispose();
});
