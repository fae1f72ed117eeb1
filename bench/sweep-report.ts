/** What a sweep reports: lines of a table, which combinations are best, and a chart. Knows no models. */

import { optionOf } from "../src/cli/wording.ts";
import type { SamplingFlags, SamplingName } from "../src/config/sampling.ts";
import { chartSvg, colours, escaped, left, lineHeight, pixel, placedLabels, type Range, scale, ticks, width } from "../src/pictures/chart.ts"; // prettier-ignore
import type { Features } from "../src/evaluate/metrics-products.ts";
import { inWords, valueText } from "./sweep-settings.ts";

/** Measures of the images of one combination of settings, or of held-out images. Shares are from 0 to 1. */
export interface SweepMeasures {
  frechetDistance: number;
  precision: number;
  recall: number;
  /** Shares of blank images, and of those that are nearly blank. */
  blank: number;
  nearlyBlank: number;
  /** Share of the images that the network, of all classes, takes for their own class. Absent if it has other classes. */
  recognised?: number;
}

/** The share of the images [N, classes] whose largest logit is that of their label. */
export function recognisedShare(
  { data, shape: [count, classes] }: Features,
  labelOf: (index: number) => number,
): number {
  let right = 0;
  for (let i = 0; i < count; i++) {
    const logits = data.subarray(i * classes, (i + 1) * classes);
    if (logits.indexOf(Math.max(...logits)) === labelOf(i)) right++;
  }
  return right / count;
}

export interface SweepResult extends SweepMeasures {
  settings: SamplingFlags;
}

const empty = ({ blank, nearlyBlank }: SweepMeasures) => blank + nearlyBlank;

/**
 * The Pareto-best results: no other has at least the same precision and recall and at most as many blank or nearly blank
 * images, and is better in one of the three. In order of their Fréchet distance.
 */
export function paretoBest<T extends SweepMeasures>(results: readonly T[]): T[] {
  const beats = (a: T, b: T) =>
    a.precision >= b.precision &&
    a.recall >= b.recall &&
    empty(a) <= empty(b) &&
    (a.precision > b.precision || a.recall > b.recall || empty(a) < empty(b));
  return results
    .filter((one) => !results.some((other) => beats(other, one)))
    .sort((a, b) => a.frechetDistance - b.frechetDistance);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
const cells = ["Fréchet", "precision", "recall", "blank", "nearly blank", "recognised"];

export const tableHead = (names: readonly SamplingName[]): string =>
  [...names.map((name) => optionOf(name).slice(2).padEnd(12)), ...cells.map((name) => name.padStart(12))].join(" ");

export function tableRow(names: readonly SamplingName[], { settings, ...measures }: SweepResult): string {
  return [...names.map((name) => valueText(name, settings).padEnd(12)), measuresRow(measures)].join(" ");
}

/** The same columns for images without settings. */
export const namedRow = (name: string, columns: number, measures: SweepMeasures): string =>
  [name.padEnd(Math.max(0, 13 * columns - 1)), measuresRow(measures)].join(columns > 0 ? " " : "");

const measuresRow = ({ frechetDistance, precision, recall, recognised, ...shares }: SweepMeasures): string =>
  [
    frechetDistance.toPrecision(3),
    precision.toFixed(3),
    recall.toFixed(3),
    percent(shares.blank),
    percent(shares.nearlyBlank),
    recognised === undefined ? "" : percent(recognised),
  ]
    .map((text) => text.padStart(12))
    .join(" ");

interface SweepChart {
  title: string;
  /** Images of each combination. */
  count: number;
  names: readonly SamplingName[];
  results: readonly SweepResult[];
  heldOut?: SweepMeasures;
}

/** The most Pareto-best combinations that get a label. */
const labelledMost = 24;

/** An SVG of precision against recall: a dot for each combination, hollow if it has blank images; the best are labelled. */
export function sweepSvg({ title, count, names, results, heldOut }: SweepChart): string {
  const best = new Set(paretoBest(results));
  const all: SweepMeasures[] = [...results, ...(heldOut ? [heldOut] : [])];
  const right = width - 290;
  const [top, bottom] = [96, Math.max(440, 96 + lineHeight * Math.min(labelledMost, best.size + 2))];
  const [across, up] = [rangeOf(all.map(({ recall }) => recall)), rangeOf(all.map(({ precision }) => precision))];
  const x = scale(across, { from: left, to: right });
  const y = scale(up, { from: bottom, to: top });
  const at = ({ recall, precision }: SweepMeasures) => `${pixel(x(recall))} ${pixel(y(precision))}`;
  const [columns, rows] = [ticks(across, 8), ticks(up, 8)];
  const told = (result: SweepResult) =>
    `${inWords(names, result.settings)}: Fréchet distance ${result.frechetDistance.toPrecision(3)}, precision ${result.precision.toFixed(3)}, recall ${result.recall.toFixed(3)}, ${percent(result.blank)} blank, ${percent(result.nearlyBlank)} nearly blank${result.recognised === undefined ? "" : `, ${percent(result.recognised)} recognised as their class`}`;
  const dot = (result: SweepResult) =>
    `<path class="dot ${best.has(result) ? "best" : "other"}${empty(result) > 0 ? " hollow" : ""}" d="${circle(x(result.recall), y(result.precision))}"><title>${escaped(told(result))}</title></path>`;
  const labels = [...best].slice(0, labelledMost).map((result) => ({ result, value: result.precision }));
  const heading = `${names.map((name) => optionOf(name).slice(2)).join(", ")} · Fréchet`;
  const subtitle = `precision against recall of ${count} images each, own features; up and to the right is better`;
  const description = `${subtitle}. Pareto-best: ${[...best].map(told).join("; ")}.`;
  return chartSvg({ id: "sweep", title, subtitle, description, height: bottom + 76, light, dark }, [
    `<path class="grid" d="${[...rows.values.map((value) => `M${left} ${pixel(y(value))}H${right}`), ...columns.values.map((value) => `M${pixel(x(value))} ${top}V${bottom}`)].join("")}"/>`,
    ...rows.values.map((value) => `<text class="end" x="${left - 8}" y="${pixel(y(value) + 4)}">${value.toFixed(rows.decimals)}</text>`), // prettier-ignore
    ...columns.values.map((value) => `<text class="middle" x="${pixel(x(value))}" y="${bottom + 18}">${value.toFixed(columns.decimals)}</text>`), // prettier-ignore
    `<path class="axis" d="M${left} ${bottom}H${right}"/>`,
    `<text class="middle" x="${pixel((left + right) / 2)}" y="${bottom + 36}">recall</text>`,
    `<text x="${left}" y="${top - 10}">precision</text>`,
    `<text x="${right + 16}" y="${top - 10}">${escaped(heading)}</text>`,
    ...results.filter((result) => !best.has(result)).map(dot),
    ...[...best].map(dot),
    ...(heldOut
      ? [
          `<path class="heldOut" d="M${at(heldOut)}m-5 0h10m-5 -5v10"/>`,
          `<text class="heldOut label ${x(heldOut.recall) > right - 70 ? "end" : ""}" x="${pixel(x(heldOut.recall) + (x(heldOut.recall) > right - 70 ? -10 : 10))}" y="${pixel(y(heldOut.precision) - 8)}">held out</text>`,
        ]
      : []),
    ...placedLabels(labels, y, { from: top + 8, to: bottom }).map(({ result, at: height }) => {
      const text = `${names.map((name) => valueText(name, result.settings)).join(", ")} · ${result.frechetDistance.toPrecision(3)}`;
      return `<path class="best leader" d="M${at(result)}L${right + 12} ${pixel(height)}"/><text class="best label" x="${right + 16}" y="${pixel(height + 4)}">${escaped(text)}</text>`;
    }),
    `<text x="${left}" y="${bottom + 60}">Labelled: Pareto-best in precision, recall and blank images. Hollow: some images are blank or nearly blank.</text>`,
  ]);
}

/** A circle as a path, so that it takes the chart's colours. */
const circle = (x: number, y: number, radius = 5): string =>
  `M${pixel(x - radius)} ${pixel(y)}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`;

/** From the smallest to the largest value with a margin, at least 0.1 wide. */
function rangeOf(values: readonly number[]): Range {
  const [from, to] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.08 * (to - from), (0.1 - (to - from)) / 2, 0.01);
  return { from: from - room, to: to + room };
}

const light = `
.dot{fill:currentColor}
.hollow{fill:#fff}
.best{color:${colours.blue.light}}
.other{color:${colours.grey.light};opacity:.7}
.leader{stroke-width:1;stroke-opacity:.35}
.heldOut{color:${colours.vermilion.light}}`;
const dark = `
.hollow{fill:#0d1117}
.best{color:${colours.blue.dark}}
.other{color:${colours.grey.dark}}
.heldOut{color:${colours.vermilion.dark}}`;
