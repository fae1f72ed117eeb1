/** The chart is rendered, its labels and positions are read back, and unusual numbers must stay legible. */

import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { channelName, type LikelihoodChart, likelihoodSvg } from "./likelihood.ts";

type Bins = LikelihoodChart["calibration"]["bins"];

/** Bins with the probability of their middle, and that accuracy times a factor. */
const bins = (rightness: number, count = 20): Bins =>
  Array.from({ length: count }, (_, i) => ({
    from: i / 20,
    to: (i + 1) / 20,
    share: 1 / count,
    probability: (i + 0.5) / 20,
    accuracy: (rightness * (i + 0.5)) / 20,
  }));

const known = (patches: number, bitsOf: (known: number) => number) =>
  Array.from({ length: patches }, (_, known) => ({ known, share: 1 / patches, bits: bitsOf(known) }));

const usual: LikelihoodChart = {
  title: "Likelihood of emoji",
  subtitle: "bits per dimension of 40 images, an estimate, lower is better",
  bars: [
    { name: "all", bits: 2, error: 0.1 },
    { name: "red", bits: 3, error: 0.2 },
    { name: "green", bits: 2, error: 0.1 },
    { name: "blue", bits: 1, error: 0 },
  ],
  calibration: {
    error: 0.25,
    bins: bins(0.5),
    channels: [{ bins: bins(0.4) }, { bins: bins(0.5) }, { bins: bins(0.6) }],
  },
  levels: [
    { name: "level 1: patches of 4x4", patches: 64, points: known(64, (count) => 4 - count / 32) },
    { name: "level 2: pixels", patches: 16, points: known(16, (count) => 3 - count / 8) },
  ],
};

const one = { share: 1, probability: 1, accuracy: 1, from: 0.95, to: 1 };
const cases: Record<string, LikelihoodChart> = {
  usual,
  "grey, with few images": {
    ...usual,
    bars: [{ name: "all", bits: 5.1234, error: 0 }],
    calibration: { error: 0, bins: [one], channels: [{ bins: [one] }] },
    levels: [{ name: "level 1: pixels", patches: 784, points: [{ known: 3, share: 1, bits: 5 }] }],
  },
  "four channels, four levels, guiding pixels": {
    ...usual,
    bars: ["all", "red", "green", "blue", "alpha", "guiding"].map((name, i) => ({ name, bits: i, error: 4 })),
    calibration: { ...usual.calibration, channels: [0.2, 0.4, 0.6, 0.8].map((right) => ({ bins: bins(right) })) },
    levels: [1, 2, 3, 4].map((level) => ({ name: `level ${level}`, patches: 4, points: known(4, () => 3) })),
  },
  "more than eight bits": {
    ...usual,
    bars: usual.bars.map((bar) => ({ ...bar, bits: bar.bits * 40 })),
    levels: [{ name: "level 1", patches: 9, points: known(9, (count) => 120 - count) }],
  },
  "nothing left to say": {
    ...usual,
    bars: [{ name: "all", bits: 0, error: 0 }],
    levels: [{ name: "level 1", patches: 1, points: [{ known: 0, share: 1, bits: 0 }] }],
  },
  "odd names": { ...usual, title: `<${"x".repeat(200)}>\0`, levels: [{ ...usual.levels[0], name: "a & b <c>" }] },
};

const texts = (svg: string) =>
  [...svg.matchAll(/<text(?: class="([^"]*)")? x="([^"]*)" y="([^"]*)">([^<]*)<\/text>/g)].map(
    ([, kinds = "", x, y, text]) => ({ kinds, x: Number(x), y: Number(y), text }),
  );
/** The coordinates of the first path of a class, or of path number `which`. */
const places = (svg: string, kind: string, which = 0) =>
  [...[...svg.matchAll(new RegExp(`<path class="${kind}" d="([^"]*)"`, "g"))][which][1].matchAll(/([\d.-]+) ([\d.-]+)/g)]
    .map(([, x, y]) => [Number(x), Number(y)]); // prettier-ignore

describe.each(Object.entries(cases))("%s", (_, chart) => {
  const svg = likelihoodSvg(chart);

  it("is a picture 800 pixels wide in which nothing is clipped at the sides", async () => {
    const { data, info } = await sharp(Buffer.from(svg), { failOn: "warning" })
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([800, 760]);
    for (let row = 0; row < info.height; row++)
      for (const x of [0, 1, 2, 797, 798, 799]) expect(data[(row * 800 + x) * 3], `${x}, ${row}`).toBe(255);
  });

  it("contains no invalid numbers, is deterministic and does not modify its input", () => {
    const before = JSON.stringify(chart);
    expect(svg).not.toMatch(/NaN|Infinity|undefined|null/);
    expect(likelihoodSvg(chart)).toBe(svg);
    expect(JSON.stringify(chart)).toBe(before);
  });

  it("has level labels that do not overlap", () => {
    const labels = texts(svg).filter(({ kinds }) => kinds.includes("label"));
    expect(labels).toHaveLength(chart.levels.length);
    const heights = labels.map(({ y }) => y).sort((a, b) => a - b);
    heights.slice(1).forEach((y, i) => expect(y - heights[i]).toBeGreaterThan(15.8));
  });
});

describe("the chart", () => {
  const svg = likelihoodSvg(usual);

  it("states its numbers in words, to screen readers, too", () => {
    const says =
      "the likeliest byte has 50.0% on average and is right 25.0% of the time; expected calibration error 25.0%";
    expect(texts(svg).map(({ text }) => text)).toContain(says);
    expect(svg).toContain(
      `<desc id="likelihood-desc">${usual.subtitle}; all 2.000 ± 0.100; red 3.000 ± 0.200; green 2.000 ± 0.100; blue 1.000 ± 0.000; ${says}; level 1: patches of 4x4: 3.95 with 2.3% known, `,
    );
  });

  it("puts bins where its axes indicate: perfect calibration is on the dashed line", () => {
    const [[left, bottom], [right, top]] = places(svg, "ideal");
    const at = (share: number, height: number) => [left + share * (right - left), bottom + height * (top - bottom)];
    const near = (found: number[], [x, y]: number[]) => {
      expect(Math.abs(found[0] - x)).toBeLessThan(0.11);
      expect(Math.abs(found[1] - y)).toBeLessThan(0.11);
    };
    places(svg, "all").slice(-20).forEach((place, i) => near(place, at((i + 0.5) / 20, (i + 0.5) / 40))); // prettier-ignore
    const perfect = likelihoodSvg({ ...usual, calibration: { ...usual.calibration, bins: bins(1) } });
    for (const [x, y] of places(perfect, "all").slice(-20))
      expect(Math.abs((x - left) / (right - left) - (y - bottom) / (top - bottom))).toBeLessThan(0.001);
    const ticks = texts(svg).filter(({ text, y }) => text === "100%" && y < 400);
    expect(ticks.map(({ y }) => y - 4)).toEqual([top]);
  });

  it("names the lines of the channels, or only the total for one channel", () => {
    const legend = (chart: LikelihoodChart) =>
      texts(likelihoodSvg(chart)).flatMap(({ x, y, text }) => (x === 90 && y < 220 ? [text] : []));
    expect(legend(usual)).toEqual(["red", "green", "blue", "all"]);
    expect(legend(cases["four channels, four levels, guiding pixels"])).toEqual(["red", "green", "blue", "alpha", "all"]); // prettier-ignore
    expect(legend(cases["grey, with few images"])).toEqual(["all"]);
  });

  it("has bars proportional to their bits, with error whiskers", () => {
    const widths = [...svg.matchAll(/class="bar" d="M512 \d+H([\d.]+)v/g)].map(([, x]) => Number(x) - 512);
    const [all, red, green, blue] = widths;
    expect([all / red, green / red, blue / red].map((share) => share.toFixed(2))).toEqual(["0.67", "0.67", "0.33"]);
    const whiskers = [...svg.matchAll(/class="whisker" d="M([\d.]+) \d+H([\d.]+)"/g)].map(([, from, to]) => Number(to) - Number(from)); // prettier-ignore
    expect(whiskers[1] / red).toBeCloseTo(0.4 / 3, 2);
    expect(whiskers[3]).toBe(0);
    expect(Math.max(...widths.map((width, i) => width + whiskers[i] / 2))).toBeCloseTo(148, 0);
    expect(texts(svg).map(({ text }) => text)).toEqual(
      expect.arrayContaining(["2.000 ± 0.100", "3.000 ± 0.200", "1.000 ± 0.000"]),
    );
  });

  it("groups counts of known patches into weighted means, and skips empty groups", () => {
    const shares = [1, 3, 0, 0, 0, 0, 2, 2];
    const points = known(32, (count) => count).flatMap((point, i) =>
      shares[i] ? [{ ...point, share: shares[i] }] : [],
    );
    const levels = [{ name: "level 1", patches: 32, points }];
    const single = { ...usual.calibration, channels: [usual.calibration.channels[0]] };
    const chart = likelihoodSvg({ ...usual, calibration: single, levels });
    // In pairs: 0 and 1, where 1 counts three times, then 6 and 7; nothing for 2 to 5 and from 8 on.
    const [, zero] = /<path class="axis" d="M56 710H(\d+)"/.exec(chart)!;
    const found = places(chart, "first");
    expect(found.map(([x]) => ((x - 56) / (Number(zero) - 56)) * 32)).toEqual([
      expect.closeTo(0.75, 1),
      expect.closeTo(6.5, 1),
    ]);
    const [low, high] = found.map(([, y]) => 710 - y);
    expect(high / low).toBeCloseTo(6.5 / 0.75, 0);
    expect(places(svg, "first", 2)).toHaveLength(16); // after a line of the calibration and one of its legend
  });

  it("follows the reader's colour scheme and needs no external resources", () => {
    expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', "")).not.toMatch(/http|url\(|@import|href|<script/);
    expect(svg).toMatch(/@media \(prefers-color-scheme:dark\)\{[^]*\.first\{color/);
  });
});

it("channels are named after their content", () => {
  const names = (channels: number) => Array.from({ length: channels }, (_, c) => channelName(c, channels));
  expect([1, 2, 3, 4].map(names)).toEqual([["grey"], ["grey", "alpha"], ["red", "green", "blue"], ["red", "green", "blue", "alpha"]]); // prettier-ignore
});
