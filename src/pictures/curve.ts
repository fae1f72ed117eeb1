/**
 * Draws the learning curve of a run as an SVG document. Knows nothing of files, and of training only steps and bits.
 */

import {
  chartSvg,
  colours,
  cutShort,
  escaped,
  left,
  lineHeight,
  pixel,
  placedLabels,
  type Range,
  scale,
  ticks,
  width,
} from "./chart.ts";

export interface LearningCurve {
  title?: string;
  /** Bits per dimension of single steps; drawn faintly, and smoothed over 3% of the steps. */
  training: readonly { step: number; bits: number }[];
  heldOut: readonly { step: number; bits: number }[];
  /** Bits per dimension of other methods on the same images, drawn as horizontal lines. */
  references: readonly { name: string; bits: number }[];
  /** Other measures, each drawn in a small panel below. */
  extra?: readonly { name: string; points: readonly Point[] }[];
  totalSteps?: number;
}

interface Point {
  step: number;
  value: number;
}
type Kind = "heldOut" | "training" | "raw" | "reference" | "extra";
/** A label to the right of a panel, as close to the height of `value` as the other labels allow. */
interface Label {
  kind: Kind;
  text: string;
  value: number;
  /** The step at which its curve ends; a reference line ends at the panel's edge. */
  step?: number;
}
interface Panel {
  top: number;
  bottom: number;
  range: Range;
  curves: readonly { kind: Kind; points: readonly Point[] }[];
  labels: readonly Label[];
}
interface StepAxis {
  left: number;
  right: number;
  steps: Range;
  x: (step: number) => number;
}

/**
 * An SVG document, 800 pixels wide, light or dark according to the reader's preference. Points that are not finite are
 * left out. Anything far from the curves, such as a uniform code after a few steps, is labelled at the edge with an
 * arrow.
 */
export function curveSvg({
  title = "Learning curve",
  references,
  extra = [],
  totalSteps,
  ...curve
}: LearningCurve): string {
  const raw = ordered(curve.training.map(({ step, bits }) => ({ step, value: bits })));
  const training = smoothed(raw);
  const heldOut = ordered(curve.heldOut.map(({ step, bits }) => ({ step, value: bits })));
  const lines = references.filter(({ bits }) => Number.isFinite(bits));
  const measures = extra
    .map(({ name, points }) => ({ name: cutShort(name), points: ordered(points) }))
    .filter(({ points }) => points.length > 0);
  const labels: Label[] = [
    ...endLabel("heldOut", heldOut, (bits) => `held out ${inBits(bits)}`),
    ...endLabel("training", training, (bits) => `training ${inBits(bits)}`),
    ...lines.map(({ name, bits }) => ({
      kind: "reference" as const,
      text: `${cutShort(name)} ${inBits(bits)}`,
      value: bits,
    })),
  ];

  const top = 76;
  const panels: Panel[] = [
    {
      top,
      bottom: top + Math.max(320, labels.length * lineHeight),
      range: bitsRange(
        { training, heldOut },
        lines.map(({ bits }) => bits),
      ),
      curves: [
        { kind: "raw", points: raw },
        { kind: "training", points: training },
        { kind: "heldOut", points: heldOut },
      ],
      labels,
    },
  ];
  for (const { name, points } of measures) {
    const top = panels.at(-1)!.bottom + 32;
    panels.push({
      top,
      bottom: top + 84,
      range: padded(extent(points.map(({ value }) => value))!),
      curves: [{ kind: "extra", points }],
      labels: endLabel("extra", points, (value) => `${name} ${significant(value)}`),
    });
  }

  const texts = panels.flatMap(({ labels }) => labels.map(({ text }) => text));
  const right = width - 30 - Math.ceil(7.4 * Math.max(8, ...texts.map(({ length }) => length + 2)));
  const curves = panels.flatMap(({ curves }) => curves.map(({ points }) => points));
  const step = Math.max(0, ...curves.map((points) => points.at(-1)?.step ?? 0));
  const steps = { from: 0, to: lastShown(step, totalSteps) };
  const axis: StepAxis = { left, right, steps, x: scale(steps, { from: left, to: right }) };
  const { bottom } = panels.at(-1)!;
  const height = bottom + 40;
  const empty = curves.every(({ length }) => length === 0);
  const done = empty ? "no steps yet" : progress(step, totalSteps);
  const subtitle = `bits per dimension, lower is better · ${done}`;
  const description = `Bits per dimension, ${done}${texts.map((text) => `, ${text}`).join("")}.`;
  return chartSvg({ id: "curve", title, subtitle, description, height, light, dark }, [
    ...panels.map((panel) => drawn(panel, axis)),
    `<text class="end" x="${left - 12}" y="${bottom + 20}">steps</text>`,
    ...stepTicks(steps).map(
      (step) => `<text class="middle" x="${pixel(axis.x(step))}" y="${bottom + 20}">${shortStep(step)}</text>`,
    ),
  ]);
}

function drawn({ top, bottom, range, curves, labels }: Panel, { left, right, steps, x }: StepAxis): string {
  const y = scale(range, { from: bottom, to: top });
  const inside = (value: number) => value >= range.from && value <= range.to;
  const across = (at: number) => `M${left} ${pixel(at)}H${right}`;
  const grid = ticks(range, Math.round((bottom - top) / 45));
  const stepGrid = stepTicks(steps).map((step) => `M${pixel(x(step))} ${top}V${bottom}`);
  const tickTexts = grid.values.map(
    (value) => `<text class="end" x="${left - 8}" y="${pixel(y(value) + 4)}">${value.toFixed(grid.decimals)}</text>`,
  );
  const references = labels.filter(({ kind, value }) => kind === "reference" && inside(value));
  const at = ({ step, value }: Point) => `${pixel(x(step))} ${pixel(y(value))}`;
  const paths = curves
    .filter(({ points }) => points.length > 1)
    .map(({ kind, points }) => `<path class="${kind}" d="M${thinned(points).map(at).join("L")}"/>`);
  // If there are many points, only the last is marked. A zero-length line with round caps is drawn as a dot.
  const dots = curves
    .map(({ kind, points }) => {
      const each = points.length === 1 || (points.length <= 60 && (kind === "heldOut" || kind === "extra"));
      return { kind, marked: points.slice(each ? 0 : -1).filter(({ value }) => inside(value)) };
    })
    .filter(({ kind, marked }) => kind !== "raw" && marked.length > 0)
    .map(({ kind, marked }) => `<path class="${kind} dots" d="${marked.map((point) => `M${at(point)}h0`).join("")}"/>`);
  return [
    `<path class="grid" d="${[...grid.values.map((value) => across(y(value))), ...stepGrid].join("")}"/>`,
    ...tickTexts,
    // A nested SVG clips whatever is drawn outside it.
    `<svg x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" viewBox="${left} ${top} ${right - left} ${bottom - top}">`,
    ...(references.length > 0
      ? [`<path class="reference" d="${references.map(({ value }) => across(y(value))).join("")}"/>`]
      : []),
    ...paths,
    "</svg>",
    `<path class="axis" d="M${left} ${bottom}H${right}"/>`,
    ...dots,
    ...placedLabels(labels, (value) => Math.min(bottom, Math.max(top, y(value))), { from: top, to: bottom }).map(
      ({ kind, text, value, step, at }) => {
        const arrow = inside(value) ? "" : value > range.to ? "↑ " : "↓ ";
        const leader = `M${pixel(x(step ?? steps.to))} ${pixel(y(value))}H${right}L${right + 12} ${pixel(at)}`;
        return [
          ...(arrow ? [] : [`<path class="${kind} leader" d="${leader}"/>`]),
          `<text class="${kind} label" x="${right + 16}" y="${pixel(at + 4)}">${escaped(arrow + text)}</text>`,
        ].join("\n");
      },
    ),
  ].join("\n");
}

/**
 * From the lowest to the highest value of the curves, ignoring the steep beginning (a shorter one for the held-out
 * curve, which has few points) and values above 10 unless all are. Extended to references that are close, or that a
 * good run may still reach.
 */
function bitsRange(
  { training, heldOut }: Record<"training" | "heldOut", readonly Point[]>,
  references: readonly number[],
): Range {
  const last = Math.max(training.at(-1)?.step ?? 0, heldOut.at(-1)?.step ?? 0);
  const settled = [
    ...training.filter(({ step }) => step >= 0.05 * last),
    ...heldOut.filter(({ step }) => step >= 0.02 * last),
  ];
  const seen = extent(settled.map(({ value }) => value));
  if (!seen) return padded(extent([...references, 2, 8])!);
  const { from } = seen;
  const to = Math.max(from + 0.2, Math.min(seen.to, Math.max(10, from * 1.25)));
  const span = to - from;
  const near = references.filter((bits) => bits > from - span && bits < to + span / 3);
  return padded(extent([from, to, ...near])!);
}

/** The mean over a window of 3% of the steps; narrower near the beginning, where curves fall steeply. */
function smoothed(points: readonly Point[]): Point[] {
  if (points.length === 0) return [];
  const first = points[0].step;
  const most = 0.015 * (points.at(-1)!.step - first);
  let [begin, end, sum] = [0, 0, 0];
  return points.map(({ step }) => {
    const reach = Math.min(most, step - first);
    while (end < points.length && points[end].step <= step + reach) sum += points[end++].value;
    while (points[begin].step < step - reach) sum -= points[begin++].value;
    return { step, value: sum / (end - begin) };
  });
}

/** Reduces more than 800 points to the means of 800 parts, and keeps the last point. */
function thinned(points: readonly Point[]): readonly Point[] {
  if (points.length <= 800) return points;
  const [first, last] = [points[0], points.at(-1)!];
  const parts = Array.from({ length: 800 }, () => ({ count: 0, step: 0, value: 0 }));
  for (const { step, value } of points) {
    const part = parts[Math.floor((800 * (step - first.step)) / (last.step - first.step + 1))];
    part.count++;
    part.step += step;
    part.value += value;
  }
  const means = parts.filter(({ count }) => count > 0);
  return [...means.map(({ count, step, value }) => ({ step: step / count, value: value / count })), last];
}

const ordered = (points: readonly Point[]): Point[] =>
  points.filter(({ step, value }) => Number.isFinite(step) && Number.isFinite(value)).sort((a, b) => a.step - b.step);

const endLabel = (kind: Kind, points: readonly Point[], text: (value: number) => string): Label[] =>
  points.slice(-1).map(({ step, value }) => ({ kind, step, value, text: text(value) }));

/** The last step on the axis: all steps after a quarter is done; before that fewer, to give the curve more room. */
function lastShown(step: number, total = 0): number {
  if (step === 0) return total || 1000;
  return step < total / 4 ? step * 1.25 : Math.max(step, total);
}

const progress = (step: number, total?: number): string =>
  total === undefined ? `step ${grouped(step)}` : `step ${grouped(step)} of ${grouped(total)}`;
const grouped = (count: number): string => count.toLocaleString("en-US");

const stepTicks = (steps: Range): number[] => ticks(steps, 6).values.filter(Number.isInteger);

/** 500, 1.5k, 2M */
function shortStep(step: number): string {
  if (step >= 1e6) return `${Number((step / 1e6).toFixed(3))}M`;
  return step >= 1e3 ? `${Number((step / 1e3).toFixed(3))}k` : String(Number(step.toFixed(3)));
}

function extent(values: readonly number[]): Range | undefined {
  if (values.length === 0) return undefined;
  const range = { from: Infinity, to: -Infinity };
  for (const value of values) {
    range.from = Math.min(range.from, value);
    range.to = Math.max(range.to, value);
  }
  return range;
}

/** Adds a margin; a range of non-negative values stays non-negative. */
function padded({ from, to }: Range): Range {
  const room = 0.06 * (to - from) || 0.1 * Math.abs(to) || 1;
  return { from: from >= 0 ? Math.max(0, from - room) : from - room, to: to + room };
}

const inBits = (bits: number): string => (bits < 1000 ? bits.toFixed(2) : significant(bits));
const significant = (value: number): string => String(Number(value.toPrecision(3)));
const light = `
.heldOut.label{font-weight:700}
.raw{stroke-width:1;stroke-opacity:.22}
.heldOut,.extra{stroke-width:2.5}
.dots{stroke-width:7}
path.reference{stroke-width:1;stroke-dasharray:5 4;stroke-linecap:butt;stroke-opacity:.7}
path.leader{stroke-width:1;stroke-opacity:.45;stroke-dasharray:none}
.heldOut{color:${colours.blue.light}}
.training,.raw{color:${colours.vermilion.light}}
.reference{color:${colours.grey.light}}
.extra{color:${colours.green.light}}`;
const dark = `
.raw{stroke-opacity:.35}
.heldOut{color:${colours.blue.dark}}
.training,.raw{color:${colours.vermilion.dark}}
.reference{color:${colours.grey.dark}}
.extra{color:${colours.green.dark}}`;
