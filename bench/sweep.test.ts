/** The parts of a sweep: values of options, combinations, blank images, which results are best, the chart. */

import { InvalidArgumentError } from "commander";
import { describe, expect, it } from "vitest";
import { backgroundOf, inkOf } from "./sweep-blank.ts";
import { paretoBest, recognisedShare, type SweepResult, sweepSvg, tableHead, tableRow } from "./sweep-report.ts";
import { combinationsOf, inWords, keyOf, sweptValues, varied } from "./sweep-settings.ts";

describe("values of an option", () => {
  it("are separated by commas, or by colons if they contain commas", () => {
    expect(sweptValues("guidance", "1,1.5,2")).toEqual([1, 1.5, 2]);
    expect(sweptValues("schedule", "linear,constant")).toEqual(["linear", "constant"]);
    expect(sweptValues("minP", "0,0.05")).toEqual([0, 0.05]);
    expect(sweptValues("minP", "0:0,0,0.05:0/0.1/0.1")).toEqual([0, [0, 0, 0.05], [[0, 0.1, 0.1]]]);
    expect(sweptValues("minP", "0,0,0.05:")).toEqual([[0, 0, 0.05]]);
    expect(sweptValues("iterations", "32,16")).toEqual([[32, 16]]);
    expect(sweptValues("iterations", "32,16:64,16")).toEqual([
      [32, 16],
      [64, 16],
    ]);
  });

  it.each([
    ["guidance", "1,x"],
    ["guidance", ""],
    ["guidance", "1,,2"],
    ["temperature", "0"],
    ["schedule", "linear,steep"],
    ["topP", "0.5:2"],
  ] as const)("--%s %j is refused", (name, text) => {
    expect(() => sweptValues(name, text)).toThrow(InvalidArgumentError);
  });

  it("are combined, each combination once, the last setting fastest", () => {
    const swept = { temperature: [0.9, 1.1, 0.9], guidance: [1, 2], schedule: ["linear"] as const };
    expect(combinationsOf(swept).map(({ guidance, temperature }) => [guidance, temperature])).toEqual([
      [1, 0.9],
      [1, 1.1],
      [2, 0.9],
      [2, 1.1],
    ]);
    expect(combinationsOf({})).toEqual([{}]);
    expect(varied(swept)).toEqual(["guidance", "temperature"]);
    expect(varied({ schedule: ["linear"] })).toEqual(["schedule"]);
    expect(inWords(["guidance", "minP"], { guidance: 1.5, minP: [0, 0.1] })).toBe("guidance 1.5, min-p 0,0.1");
  });

  const settings = { guidance: 1, schedule: "linear", temperature: 1, filterThreshold: 0, minP: 0, topP: 1, iterations: [2] } as const; // prettier-ignore
  it("decide, with the model and the seed, which images are drawn again", () => {
    expect(keyOf(settings, { seed: 1 })).toBe(keyOf({ ...settings }, { seed: 1 }));
    const others = [keyOf(settings, { seed: 2 }), keyOf({ ...settings, guidance: 2 }, { seed: 1 })];
    expect(new Set([...others, keyOf(settings, { seed: 1 })]).size).toBe(3);
  });
});

describe("blank images", () => {
  const image = (...values: number[]) => Uint8Array.from(values);
  it("have no pixel that differs from the background by more than 5", () => {
    expect(inkOf(image(255, 250, 255, 255, 249, 255), { channels: 3, background: "white" })).toBe(1);
    expect(inkOf(image(0, 5, 6, 200), { channels: 1, background: "black" })).toBe(2);
    expect(inkOf(image(0, 0), { channels: 2, background: "white" })).toBe(0); // transparent
  });

  it("are judged by the background of the training images", () => {
    const data = (corner: number) => ({
      size: 2,
      channels: 1,
      train: { count: 2, image: () => image(corner, corner, corner, corner) },
    });
    expect(backgroundOf(data(250) as never)).toBe("white");
    expect(backgroundOf(data(3) as never)).toBe("black");
  });
});

const result = (guidance: number, precision: number, recall: number, more: Partial<SweepResult> = {}): SweepResult => ({
  settings: { guidance },
  precision,
  recall,
  frechetDistance: 10 - guidance,
  blank: 0,
  nearlyBlank: 0,
  ...more,
});

describe("results", () => {
  const results = [
    result(1, 0.7, 0.8),
    result(2, 0.8, 0.7),
    result(3, 0.7, 0.7), // both others are at least as good
    result(4, 0.9, 0.8, { nearlyBlank: 0.1 }),
  ];

  it("are Pareto-best if no other is as good in everything and better in something", () => {
    expect(paretoBest(results).map(({ settings }) => settings.guidance)).toEqual([4, 2, 1]);
    // With the same share of blank images, the last is better than all.
    expect(paretoBest([...results.slice(0, 3), result(4, 0.9, 0.8)])).toHaveLength(1);
    expect(paretoBest([result(1, 0.5, 0.5), result(2, 0.5, 0.5)])).toHaveLength(2);
  });

  it("are rows as wide as their head", () => {
    const row = tableRow(["guidance"], results[3]);
    expect(row).toHaveLength(tableHead(["guidance"]).length);
    expect(row.trim().split(/ +/)).toEqual(["4", "6.00", "0.900", "0.800", "0.0%", "10.0%"]);
    expect(tableRow([], result(4, 0.9, 0.8, { recognised: 0.25 }))).toMatch(/ 0\.0% +25\.0%$/);
  });

  it("count the images that are recognised as their class", () => {
    const logits = { dtype: "float32", shape: [3, 2], data: Float32Array.of(1, 2, 5, -1, 0, 3) } as const;
    expect(recognisedShare({ ...logits, shape: [3, 2] }, (i) => [1, 0, 0][i])).toBeCloseTo(2 / 3);
  });

  it("are a chart with a dot each, a label for the best, and held-out images", () => {
    const heldOut = result(0, 0.95, 0.9);
    const svg = sweepSvg({ title: "a <b>", count: 300, names: ["guidance"], results, heldOut });
    expect(svg.match(/class="dot /g)).toHaveLength(4);
    expect(svg.match(/class="dot best/g)).toHaveLength(3);
    expect(svg.match(/class="best label"/g)).toHaveLength(3);
    expect(svg.match(/hollow"/g)).toHaveLength(1);
    expect(svg).toContain(">held out</text>");
    expect(svg).toContain("a &lt;b&gt;");
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    expect(sweepSvg({ title: "one", count: 10, names: [], results: [result(1, 0, 0)] })).not.toMatch(/NaN|undefined/);
  });
});
