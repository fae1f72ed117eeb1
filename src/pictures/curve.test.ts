/** The document is rendered, its labels and positions are read back, and unusual runs must stay legible. */

import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { curveSvg, type LearningCurve } from "./curve.ts";

const references = [
  { name: "uniform", bits: 8 },
  { name: "histogram", bits: 5.9 },
  { name: "PNG", bits: 2.76 },
  { name: "lossless WebP", bits: 2.15 },
];
const heldOut = [
  { step: 250, bits: 3.5 },
  { step: 500, bits: 3.1 },
  { step: 1000, bits: 2.9 },
  { step: 4000, bits: 2.61 },
  { step: 7000, bits: 2.49 },
];
const bitsAt = (step: number) => 2.3 + 5 * Math.exp(-step / 60) + 1.2 / (1 + step / 250) + 0.15 * Math.sin(step * 7);
const training = (steps: number, every = 1) =>
  Array.from({ length: steps / every }, (_, index) => ({
    step: (index + 1) * every,
    bits: bitsAt((index + 1) * every),
  }));

const middle: LearningCurve = { title: "emoji", training: training(7000), heldOut, references, totalSteps: 10_000 };
const measures = [
  { name: "KID", points: [1000, 7000].map((step) => ({ step, value: 30 / step })) },
  { name: "recall", points: [{ step: 7000, value: -0.5 }] },
];
const cases: Record<string, LearningCurve> = {
  middle,
  empty: { training: [], heldOut: [], references: [] },
  "empty with references": { training: [], heldOut: [], references, totalSteps: 500 },
  "one step": { training: [{ step: 1, bits: 8.01 }], heldOut: [], references, totalSteps: 10_000 },
  "step 0 only": { training: [], heldOut: [{ step: 0, bits: 8 }], references: [] },
  "no training": { training: [], heldOut, references },
  "nothing finite": { training: [{ step: 1, bits: Number.NaN }], heldOut: [{ step: 1, bits: Infinity }], references },
  "all equal": { training: [], heldOut: heldOut.map(({ step }) => ({ step, bits: 3 })), references: [] },
  diverged: {
    ...middle,
    heldOut: [...heldOut, { step: 7100, bits: 1e300 }],
    training: training(7000).concat({ step: 7001, bits: Infinity }),
  },
  "above 10 throughout": {
    training: [],
    heldOut: heldOut.map(({ step, bits }) => ({ step, bits: bits + 20 })),
    references,
  },
  "1e6 steps": { ...middle, training: training(1e6, 10), totalSteps: 1e6 },
  crowded: {
    ...middle,
    references: Array.from({ length: 25 }, (_, index) => ({ name: `another ${index}`, bits: 2.5 + index / 500 })),
  },
  "long names": { ...middle, title: "x".repeat(300), references: [{ name: "y".repeat(300), bits: 2.6 }] },
  measures: { ...middle, extra: [...measures, { name: "none", points: [] }] },
};

/** The texts of the document with their positions. */
function texts(svg: string): { kinds: string[]; x: number; y: number; text: string }[] {
  return [...svg.matchAll(/<text(?: class="([^"]*)")? x="([^"]*)" y="([^"]*)">([^<]*)<\/text>/g)].map(
    ([, kinds = "", x, y, text]) => ({ kinds: kinds.split(" "), x: Number(x), y: Number(y), text }),
  );
}
const labels = (svg: string) =>
  texts(svg)
    .filter(({ kinds }) => kinds.includes("label"))
    .sort((a, b) => a.y - b.y);
/** The coordinates of the paths of a class. */
const places = (svg: string, kind: string) =>
  [...svg.matchAll(new RegExp(`<path class="${kind}" d="([^"]*)"`, "g"))].flatMap(([, path]) =>
    [...path.matchAll(/([\d.-]+) ([\d.-]+)/g)].map(([, x, y]) => [Number(x), Number(y)]),
  );

describe.each(Object.entries(cases))("%s", (_, curve) => {
  const svg = curveSvg(curve);

  it("is a picture 800 pixels wide in which nothing is clipped at the sides", async () => {
    const { data, info } = await sharp(Buffer.from(svg), { failOn: "warning" })
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(info.width).toBe(800);
    for (let row = 0; row < info.height; row++)
      for (const x of [0, 1, 2, 797, 798, 799]) expect(data[(row * 800 + x) * 3], `${x}, ${row}`).toBe(255);
  });

  it("contains no invalid numbers", () => {
    expect(svg).not.toMatch(/NaN|Infinity|undefined|null/);
  });

  it("has labels that do not overlap, in the order of their values", () => {
    const all = labels(svg);
    for (let index = 1; index < all.length; index++)
      expect(all[index].y - all[index - 1].y, all[index].text).toBeGreaterThan(15.8);
    const bits = all.filter(({ kinds }) => !kinds.includes("extra")).map(({ text }) => Number(/[^ ]+$/.exec(text)![0]));
    expect(bits).toEqual(bits.toSorted((a, b) => b - a));
    expect(bits).toHaveLength(
      curve.references.length +
        Number(curve.heldOut.some(({ bits }) => Number.isFinite(bits))) +
        Number(curve.training.some(({ bits }) => Number.isFinite(bits))),
    );
  });

  it("is deterministic and does not modify its input", () => {
    const before = JSON.stringify(curve);
    expect(curveSvg(curve)).toBe(svg);
    expect(JSON.stringify(curve)).toBe(before);
  });
});

describe("the curve of a run", () => {
  const svg = curveSvg(middle);

  it("states its last numbers, to screen readers, too", () => {
    expect(labels(svg).map(({ text }) => text)).toEqual([
      "↑ uniform 8.00",
      "↑ histogram 5.90",
      "PNG 2.76",
      "held out 2.49",
      expect.stringMatching(/^training 2\.3\d$/),
      "lossless WebP 2.15",
    ]);
    expect(svg).toContain('role="img" aria-labelledby="curve-title curve-desc"');
    expect(svg).toContain('<title id="curve-title">emoji</title>');
    expect(svg).toMatch(
      /<desc id="curve-desc">Bits per dimension, step 7,000 of 10,000, held out 2\.49, training 2\.3\d, unif/,
    );
  });

  it("puts points where the axes indicate", () => {
    const ticks = texts(svg).filter(({ text }) => /^[\d.]+$/.test(text));
    const [[, high], [, low]] = ["3.0", "2.5"].map((text) => [text, ticks.find((tick) => tick.text === text)!.y - 4]);
    const steps = new Map(texts(svg).map(({ text, x }) => [text, x]));
    const [start, end] = [steps.get("0")!, steps.get("10k")!];
    expect(steps.has("4k")).toBe(true);
    const expected = heldOut.map(({ step, bits }) => [
      start + (step / 10_000) * (end - start),
      Number(low) + ((bits - 2.5) / 0.5) * (Number(high) - Number(low)),
    ]);
    const marked = places(svg, "heldOut dots");
    expect(marked).toHaveLength(expected.length);
    for (const [index, [x, y]] of marked.entries()) {
      expect(Math.abs(x - expected[index][0])).toBeLessThan(0.2);
      expect(Math.abs(y - expected[index][1])).toBeLessThan(0.5);
    }
  });

  it("shows the first evaluation and nearby references, and lets the steep beginning extend past the top", () => {
    const top = places(svg, "heldOut dots")[0][1];
    expect(top).toBeGreaterThan(76);
    expect(places(svg, "training")[0][1]).toBeLessThan(76);
    expect(svg.match(/<path class="reference" d="([^"]*)"/)![1].match(/M/g)).toHaveLength(2);
  });

  it("is smoothed symmetrically, so that it follows a fall without delay", () => {
    const heights = (noise: number, kind: string) => {
      const bits = (step: number) => 5 - step / 400 + (step % 2) * noise;
      const fall = Array.from({ length: 800 }, (_, index) => ({ step: index + 1, bits: bits(index + 1) }));
      return places(curveSvg({ training: fall, heldOut: [], references: [] }), kind).map(([, y]) => y);
    };
    const [straight, mean] = [heights(0, "raw"), heights(0, "training")];
    expect(mean).toHaveLength(800);
    for (let index = 0; index < 780; index++) expect(Math.abs(mean[index] - straight[index])).toBeLessThan(0.2);
    const jump = (heights: number[]) =>
      Math.max(...heights.slice(21, 780).map((y, index) => Math.abs(y - heights[index + 20])));
    expect(jump(heights(1, "raw"))).toBeGreaterThan(60);
    expect(jump(heights(1, "training"))).toBeLessThan(10);
  });

  it("draws at most about 800 points, ending at the last", () => {
    const long = curveSvg(cases["1e6 steps"]);
    expect(long.length).toBeLessThan(60_000);
    for (const kind of ["raw", "training"]) {
      const drawn = places(long, kind);
      expect(drawn.length).toBeGreaterThan(700);
      expect(drawn.length).toBeLessThanOrEqual(801);
      expect(drawn.map(([x]) => x)).toEqual(drawn.map(([x]) => x).toSorted((a, b) => a - b));
    }
    expect(texts(long).map(({ text }) => text)).toEqual(expect.arrayContaining(["200k", "1M"]));
  });

  it("gives the beginning of a run more room, and later shows all steps", () => {
    const early = curveSvg({ ...middle, training: training(100), heldOut: [] });
    const late = curveSvg({ ...middle, training: training(2500), heldOut: [] });
    const [from, to] = [early, late].map((svg) => places(svg, "training").at(-1)![0]);
    expect(from).toBeGreaterThan(400);
    expect(to).toBeLessThan(250);
    expect(texts(early).map(({ text }) => text)).toContain("bits per dimension, lower is better · step 100 of 10,000");
  });

  it("leaves out points that are not finite and sorts the rest", () => {
    const shuffled = [...heldOut, { step: 5000, bits: Number.NaN }, { step: Number.NaN, bits: 3 }].toReversed();
    expect(curveSvg({ ...middle, heldOut: shuffled })).toBe(svg);
  });

  it("labels values outside the scale", () => {
    expect(labels(curveSvg(cases.diverged))[0].text).toBe("↑ held out 1e+300");
    expect(labels(curveSvg(cases["one step"])).map(({ text }) => text)).toContain("↓ PNG 2.76");
  });

  it("has a panel for every extra measure with points", () => {
    const plain = Number(/viewBox="0 0 800 (\d+)"/.exec(svg)![1]);
    const more = curveSvg(cases.measures);
    expect(Number(/viewBox="0 0 800 (\d+)"/.exec(more)![1])).toBeGreaterThan(plain + 200);
    expect(
      labels(more)
        .slice(-2)
        .map(({ text }) => text),
    ).toEqual(["KID 0.00429", "recall -0.5"]);
    expect(more).toContain("KID 0.00429, recall -0.5.</desc>");
  });

  it("escapes names and removes characters not allowed in XML", async () => {
    const odd = curveSvg({
      ...middle,
      title: `<a> & "b"\0\u{ffff}\ud800 ❤`,
      references: [{ name: "</text>&", bits: 2.6 }],
    });
    expect(odd).toContain('<title id="curve-title">&lt;a&gt; &amp; "b" ❤</title>');
    expect(odd).toContain("&lt;/text&gt;&amp; 2.60</text>");
    await sharp(Buffer.from(odd), { failOn: "warning" }).raw().toBuffer();
  });

  it("needs no external resources and follows the reader's colour scheme", async () => {
    expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', "")).not.toMatch(/http|url\(|@import|href|<script/);
    const dark = svg.replace(/@media \(prefers-color-scheme:dark\)\{([^]*)\}\n<\/style>/, "$1</style>");
    expect(dark).not.toBe(svg);
    const corner = async (document: string) => [
      ...(await sharp(Buffer.from(document)).removeAlpha().raw().toBuffer()).subarray(0, 3),
    ];
    expect(await corner(svg)).toEqual([255, 255, 255]);
    expect(await corner(dark)).toEqual([13, 17, 23]);
  });
});
