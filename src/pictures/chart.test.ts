/** Shared parts of charts: scales, ticks, non-overlapping labels, and text escaped for XML. */

import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { chartSvg, cutShort, escaped, lineHeight, pixel, placedLabels, scale, ticks } from "./chart.ts";

describe("labels", () => {
  const down = (value: number) => 100 - value;
  const heights = (values: number[], range = { from: 0, to: 1000 }) =>
    placedLabels(
      values.map((value) => ({ value })),
      down,
      range,
    ).map(({ at }) => at);

  it("are at their values if there is room, from top to bottom", () => {
    expect(heights([10, 90, 50])).toEqual([10, 50, 90]);
    expect(placedLabels([{ value: 1, name: "a" }, { value: 30, name: "b" }], down, { from: 0, to: 200 })).toEqual([
      { value: 30, name: "b", at: 70 },
      { value: 1, name: "a", at: 99 },
    ]); // prettier-ignore
  });

  it("are a line apart, moved as little as possible in total", () => {
    // Two at the same height move by half a line each; of three, the middle one stays.
    expect(heights([50, 50])).toEqual([50 - lineHeight / 2, 50 + lineHeight / 2]);
    expect(heights([50, 50, 50])).toEqual([50 - lineHeight, 50, 50 + lineHeight]);
    for (const values of [[50, 49, 47, 46, 20, 19], [1, 1, 1, 5, 5, 90], [30, 20, 10, 0]]) {
      const found = heights(values);
      found.slice(1).forEach((at, i) => expect(at - found[i]).toBeGreaterThanOrEqual(lineHeight - 1e-9));
      // No other valid positions are closer: neither all slightly higher nor any single one moved.
      const wanted = values.toSorted((a, b) => b - a).map(down);
      const cost = (at: number[]) => at.reduce((sum, y, i) => sum + (y - wanted[i]) ** 2, 0);
      const apart = (at: number[]) => at.every((y, i) => i === 0 || y - at[i - 1] >= lineHeight - 1e-9);
      for (const by of [-1, -0.1, 0.1, 1])
        for (let from = 0; from < found.length; from++)
          for (let to = from + 1; to <= found.length; to++) {
            const moved = found.map((y, i) => (i >= from && i < to ? y + by : y));
            if (apart(moved)) expect(cost(moved)).toBeGreaterThan(cost(found) - 1e-9);
          }
    }
  }); // prettier-ignore

  it("stay within their panel", () => {
    expect(heights([300, 299, 298], { from: 20, to: 120 })).toEqual([20, 36, 52]);
    expect(heights([-300, -299], { from: 20, to: 120 })).toEqual([104, 120]);
    expect(heights([])).toEqual([]);
  });
});

describe("ticks", () => {
  it.each([
    [{ from: 0, to: 1 }, 5, [0, 0.2, 0.4, 0.6, 0.8, 1], 1],
    [{ from: 0, to: 8 }, 5, [0, 2, 4, 6, 8], 0],
    [{ from: 2.31, to: 2.49 }, 4, [2.35, 2.4, 2.45], 2],
    [{ from: 0, to: 12_345 }, 6, [0, 5000, 10_000], 0],
    [{ from: -1, to: 1 }, 2, [-1, 0, 1], 0],
    [{ from: 0, to: 0.003 }, 3, [0, 0.001, 0.002, 0.003], 3],
  ])("of %o, at most %i intervals", (range, most, values, decimals) => {
    const found = ticks(range, most);
    expect(found.decimals).toBe(decimals);
    expect(found.values).toEqual(values.map((value) => expect.closeTo(value, 9)));
  });

  it("are at most as many as requested, inside the range, and distinct at their decimals", () => {
    for (let i = 1; i < 200; i++) {
      const range = { from: i * 0.37, to: i * 0.37 + 1.7 ** ((i % 40) - 20) };
      for (const most of [1, 3, 7]) {
        const { values, decimals } = ticks(range, most);
        expect(values.length).toBeLessThanOrEqual(most + 1);
        const room = (range.to - range.from) * 1e-6;
        for (const value of values) expect(value >= range.from - room && value <= range.to + room).toBe(true);
        expect(new Set(values.map((value) => value.toFixed(decimals))).size).toBe(values.length);
      }
    }
  });
});

it("a scale maps a range to pixels, upwards, too, and beyond its ends", () => {
  const y = scale({ from: 2, to: 4 }, { from: 100, to: 0 });
  expect([2, 3, 4, 5].map(y)).toEqual([100, 50, 0, -50]);
});

it("pixels have one decimal and stay within the limits of renderers", () => {
  expect([1.26, 3, -0.04, 1e9, -Infinity].map(pixel)).toEqual(["1.3", "3", "0", "100000", "-100000"]);
});

it("long texts are shortened, and characters not allowed in XML are removed", () => {
  expect(cutShort("a".repeat(24))).toBe("a".repeat(24));
  expect(cutShort("a".repeat(25))).toBe(`${"a".repeat(23)}…`);
  expect(cutShort("abcdef", 3)).toBe("ab…");
  expect(escaped(`<a> & "b"\0\u{ffff}\ud800 ❤ 😀`)).toBe('&lt;a&gt; &amp; "b" ❤ 😀');
});

it("a document has escaped texts, accessible names, and the given elements", async () => {
  const elements = ['<path class="grid" d="M56 100H700"/>'];
  const page = { id: "x", title: `<${"t".repeat(70)}`, subtitle: "a & b", description: "c < d", height: 200 };
  const svg = chartSvg({ ...page, light: "\n.own{color:#000}", dark: "\n.own{color:#fff}" }, elements);
  expect(svg).toContain('role="img" aria-labelledby="x-title x-desc"');
  expect(svg).toContain(`<title id="x-title">&lt;${"t".repeat(70)}</title>`);
  expect(svg).toContain(`y="34">&lt;${"t".repeat(58)}…</text>`);
  expect(svg).toContain('<desc id="x-desc">c &lt; d</desc>');
  expect(svg).toContain('<text x="56" y="56">a &amp; b</text>');
  expect(svg).toMatch(
    /\.own\{color:#000\}\n@media \(prefers-color-scheme:dark\)\{[^@]*\.own\{color:#fff\}\n\}\n<\/style>/,
  );
  expect(svg).toContain(elements[0]);
  const { width, height } = await sharp(Buffer.from(svg), { failOn: "warning" }).metadata();
  expect([width, height]).toEqual([800, 200]);
});
