/** Shared parts of charts: the page with its colours, scales, ticks and non-overlapping labels. */

/** In pixels: the width of the page, the left margin of panels, and the distance between label lines. */
export const width = 800;
export const left = 56;
export const lineHeight = 16;

export interface Range {
  from: number;
  to: number;
}

// Blue, vermilion and green after Okabe and Ito, distinguishable to colour-blind readers and dark enough for small
// text.
export const colours = {
  blue: { light: "#0072b2", dark: "#56b4e9" },
  vermilion: { light: "#b84d00", dark: "#e69f00" },
  green: { light: "#00795a", dark: "#2bc59a" },
  grey: { light: "#59636e", dark: "#9198a1" },
  black: { light: "#1f2328", dark: "#f0f6fc" },
};

interface Page {
  /** Prefix of the elements' IDs. */
  id: string;
  title: string;
  subtitle: string;
  /** Text for screen readers. */
  description: string;
  height: number;
  /** The chart's own CSS rules for a light page, and those for a dark page. */
  light: string;
  dark: string;
}

/** An SVG document of these elements, 800 pixels wide, light or dark according to the reader's preference. */
export function chartSvg({ id, title, subtitle, description, height, light, dark }: Page, elements: string[]): string {
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="${id}-title ${id}-desc">`,
    `<title id="${id}-title">${escaped(title)}</title>`,
    `<desc id="${id}-desc">${escaped(description)}</desc>`,
    `<style>${style}${light}
@media (prefers-color-scheme:dark){${darkStyle}${dark}
}
</style>`,
    `<rect class="page" width="${width}" height="${height}"/>`,
    `<text class="title" x="${left}" y="34">${escaped(cutShort(title, 60))}</text>`,
    `<text x="${left}" y="56">${escaped(subtitle)}</text>`,
    ...elements,
    "</svg>",
  ].join("\n")}\n`;
}

const style = `
text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;font-size:12px;fill:${colours.grey.light}}
.title{font-size:18px;font-weight:600;fill:${colours.black.light}}
.middle{text-anchor:middle}
.end{text-anchor:end}
.label{fill:currentColor}
.page{fill:#fff}
path{fill:none;stroke:currentColor;stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}
.grid{stroke:#eaeef2;stroke-width:1}
.axis{stroke:#8c959f;stroke-width:1}`;
const darkStyle = `
.page{fill:#0d1117}
text{fill:${colours.grey.dark}}
.title{fill:${colours.black.dark}}
.grid{stroke:#21262d}
.axis{stroke:#656c76}`;

/** Sorts labels from top to bottom and moves them apart as little as possible (least squares, order preserved). */
export function placedLabels<Label extends { value: number }>(
  labels: readonly Label[],
  y: (value: number) => number,
  { from, to }: Range,
): (Label & { at: number })[] {
  const sorted = labels.toSorted((a, b) => b.value - a.value);
  // With the minimum distances subtracted, positions must not decrease; groups that would are set to their mean.
  const groups: { sum: number; count: number }[] = [];
  const mean = (index: number) => groups.at(index)!.sum / groups.at(index)!.count;
  for (const [index, { value }] of sorted.entries()) {
    groups.push({ sum: y(value) - index * lineHeight, count: 1 });
    while (groups.length > 1 && mean(-2) > mean(-1)) {
      const { sum, count } = groups.pop()!;
      groups.at(-1)!.sum += sum;
      groups.at(-1)!.count += count;
    }
  }
  const lowest = to - (sorted.length - 1) * lineHeight;
  const heights = groups.flatMap(({ sum, count }) => new Array<number>(count).fill(sum / count));
  return sorted.map((label, index) => ({
    ...label,
    at: Math.max(from, Math.min(lowest, heights[index])) + index * lineHeight,
  }));
}

/** Ticks at multiples of 1, 2 or 5 times a power of ten, with at most `most` intervals. */
export function ticks({ from, to }: Range, most: number): { values: number[]; decimals: number } {
  const least = (to - from) / most;
  const power = Math.floor(Math.log10(least));
  const interval = [1, 2, 5, 10].find((factor) => factor * 10 ** power >= least * (1 - 1e-9))! * 10 ** power;
  const first = Math.ceil(from / interval - 1e-9);
  const count = Math.floor(to / interval + 1e-9) - first + 1;
  return {
    values: Array.from({ length: count }, (_, index) => (first + index) * interval),
    decimals: Math.max(0, -Math.floor(Math.log10(interval) + 1e-9)),
  };
}

/** Maps values linearly to pixels. */
export const scale =
  (values: Range, pixels: Range) =>
  (value: number): number =>
    pixels.from + ((value - values.from) / (values.to - values.from)) * (pixels.to - pixels.from);

// Far outside the picture the exact position does not matter, but renderers have limits.
export const pixel = (at: number): string => String(Number(Math.max(-1e5, Math.min(1e5, at)).toFixed(1)));

/** Shortens text to `most` characters, the last of them an ellipsis. */
export const cutShort = (text: string, most = 24): string =>
  text.length > most ? `${text.slice(0, most - 1)}…` : text;

/** Escapes text for XML and removes characters that XML does not allow. */
export const escaped = (text: string): string =>
  text
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
