/** A chart of likelihood details: calibration and bits per dimension. Knows nothing of models and images. */

import { chartSvg, colours, escaped, left, pixel, placedLabels, type Range, scale, ticks, width } from "./chart.ts";

interface Bin {
  from: number;
  to: number;
  share: number;
  probability: number;
  accuracy: number;
}

export interface LikelihoodChart {
  title: string;
  subtitle: string;
  /** Bits per dimension with their standard errors. */
  bars: readonly { name: string; bits: number; error: number }[];
  /** Predictions binned by the probability of the likeliest byte: for all channels together, and for each. */
  calibration: { error: number; bins: readonly Bin[]; channels: readonly { bins: readonly Bin[] }[] };
  /** Bits per dimension by the number of known patches in a square, for each level. */
  levels: readonly {
    name: string;
    patches: number;
    points: readonly { known: number; share: number; bits: number }[];
  }[];
}

/** A panel's position in pixels, and its value ranges from left to right and from bottom to top. */
interface Panel {
  x: Range;
  y: Range;
  across: Range;
  up: Range;
}

const channelNames: readonly (readonly string[])[] = [[], ["grey"], ["grey", "alpha"], ["red", "green", "blue"], ["red", "green", "blue", "alpha"]]; // prettier-ignore
const channelKinds = ["first", "second", "third", "fourth"] as const;

/** The name of a channel. */
export const channelName = (channel: number, channels: number): string => channelNames[channels][channel];

/** An SVG document with three panels: calibration, bits by channel, and bits by the share of known patches. */
export function likelihoodSvg({ title, subtitle, bars, calibration, levels }: LikelihoodChart): string {
  const mean = (of: (bin: Bin) => number) => calibration.bins.reduce((sum, bin) => sum + bin.share * of(bin), 0);
  const sure = percent(mean(({ probability }) => probability));
  const right = percent(mean(({ accuracy }) => accuracy));
  const error = percent(calibration.error);
  const says = `the likeliest byte has ${sure} on average and is right ${right} of the time; expected calibration error ${error}`;
  const curves = levels.map(({ name, patches, points }) => ({ name, points: grouped(points, patches) }));
  const described = [
    subtitle,
    ...bars.map(({ name, bits, error }) => `${name} ${bits.toFixed(3)} ± ${error.toFixed(3)}`),
    says,
    ...curves.map(
      ({ name, points }) =>
        `${name}: ${points.map(({ x, y }) => `${y.toFixed(2)} with ${percent(x)} known`).join(", ")}`,
    ),
  ];
  return chartSvg(
    { id: "likelihood", title, subtitle, description: `${described.join("; ")}.`, height: 760, light, dark },
    [...reliability(calibration, says), ...bitsBars(bars), ...bitsByKnown(curves)],
  );
}

function reliability({ bins, channels }: LikelihoodChart["calibration"], says: string): string[] {
  const x = { from: left, to: 376 };
  const whole = { from: 0, to: 1 };
  const panel = { x, y: { from: 370, to: 118 }, across: whole, up: whole };
  const most = Math.max(...bins.map(({ share }) => share));
  const counts = { x, y: { from: 432, to: 386 }, across: whole, up: { from: 0, to: most } };
  const names = channelNames[channels.length];
  const lines = [...(names.length > 1 ? channels.map(({ bins }, c) => ({ bins, kind: channelKinds[c] })) : []), { bins, kind: "all" }]; // prettier-ignore
  const legend = [...(names.length > 1 ? names : []), "all"];
  const [up, share] = [scale(counts.up, counts.y), scale(whole, x)];
  return [
    heading("Calibration: how often the likeliest byte is right", x.from),
    ...frame(panel, { across: percentTicks, up: percentTicks }),
    `<path class="ideal" d="M${at(panel, 0, 0)}L${at(panel, 1, 1)}"/>`,
    ...lines.map(({ bins, kind }) =>
      curve(
        kind,
        panel,
        bins.map(({ probability: x, accuracy: y }) => ({ x, y })),
      ),
    ),
    ...legend.map((name, i) => {
      const y = 134 + 16 * i;
      return `<path class="${lines[i].kind}" d="M${x.from + 12} ${y - 4}h16"/><text x="${x.from + 34}" y="${y}">${name}</text>`;
    }),
    ...bins.map(
      ({ from, to, share: own }) =>
        `<path class="count" d="M${pixel(share(from) + 1)} ${counts.y.from}V${pixel(up(own))}H${pixel(share(to) - 1)}V${counts.y.from}Z"/>`,
    ),
    `<path class="axis" d="M${x.from} ${counts.y.from}H${x.to}"/>`,
    `<text x="${x.from + 12}" y="${counts.y.to - 3}">how many values: up to ${percent(most)} in one bin</text>`,
    ...acrossLabels({ ...panel, y: counts.y }, percentTicks, "probability of the likeliest byte"),
    `<text x="${x.from}" y="480">${escaped(says)}</text>`,
  ];
}

function bitsBars(bars: LikelihoodChart["bars"]): string[] {
  const x = { from: 512, to: 660 };
  const most = Math.max(...bars.map(({ bits, error }) => bits + error));
  const along = scale({ from: 0, to: most || 1 }, x);
  return [
    heading("Bits per dimension", 440),
    ...bars.map(({ name, bits, error }, i) => {
      const y = 126 + 34 * i;
      const whisker = `M${pixel(along(Math.max(0, bits - error)))} ${y + 10}H${pixel(along(bits + error))}`;
      return [
        `<text class="end" x="${x.from - 8}" y="${y + 14}">${escaped(name)}</text>`,
        `<path class="bar" d="M${x.from} ${y}H${pixel(along(bits))}v20H${x.from}Z"/>`,
        `<path class="whisker" d="${whisker}"/>`,
        `<text x="${x.to + 8}" y="${y + 14}">${bits.toFixed(3)} ± ${error.toFixed(3)}</text>`,
      ].join("\n");
    }),
  ];
}

function bitsByKnown(curves: readonly { name: string; points: readonly Point[] }[]): string[] {
  const most = Math.max(...curves.flatMap(({ points }) => points.map(({ y }) => y)));
  const panel = {
    x: { from: left, to: width - 190 },
    y: { from: 710, to: 534 },
    across: { from: 0, to: 1 },
    up: { from: 0, to: most * 1.06 || 1 },
  };
  const kinds = channelKinds;
  const ends = curves.map(({ name, points }, l) => ({
    kind: kinds[l % kinds.length],
    name,
    value: points.at(-1)!.y,
    end: points.at(-1)!,
  }));
  const up = scale(panel.up, panel.y);
  return [
    heading("Bits per dimension by how much of a level's square was known", panel.x.from, 516),
    ...frame(panel, { across: percentTicks, up: ticks(panel.up, 5) }),
    ...acrossLabels(panel, percentTicks, "patches of the square known before the predicted one"),
    ...curves.map(({ points }, l) => curve(kinds[l % kinds.length], panel, points)),
    ...placedLabels(ends, up, { from: panel.y.to, to: panel.y.from }).map(
      ({ kind, name, end, at: y }) =>
        `<path class="${kind} leader" d="M${at(panel, end.x, end.y)}H${panel.x.to}L${panel.x.to + 12} ${pixel(y)}"/><text class="${kind} label" x="${panel.x.to + 16}" y="${pixel(y + 4)}">${escaped(name)}</text>`,
    ),
  ];
}

interface Point {
  x: number;
  y: number;
}

/** Groups the points into at most 16, each a mean over equally many counts of known patches, shown as shares. */
function grouped(points: LikelihoodChart["levels"][number]["points"], patches: number): Point[] {
  const size = Math.ceil(patches / 16);
  return Array.from({ length: Math.ceil(patches / size) }, (_, group) => {
    const own = points.filter(({ known }) => Math.floor(known / size) === group);
    const total = own.reduce((sum, { share }) => sum + share, 0);
    const mean = (of: (point: (typeof own)[number]) => number) =>
      own.reduce((sum, point) => sum + point.share * of(point), 0) / total;
    return { x: mean(({ known }) => known) / patches, y: mean(({ bits }) => bits) };
  }).filter(({ y }) => Number.isFinite(y));
}

const percentTicks = { values: [0, 0.2, 0.4, 0.6, 0.8, 1], decimals: 0 };

/** The grid of a panel, its lower edge and the labels of its vertical axis. */
function frame(panel: Panel, { across, up }: Record<"across" | "up", ReturnType<typeof ticks>>): string[] {
  const { x, y } = panel;
  const height = scale(panel.up, y);
  const share = panel.up.to === 1 && up === percentTicks;
  const lines = [
    ...up.values.map((value) => `M${x.from} ${pixel(height(value))}H${x.to}`),
    ...across.values.map((value) => `M${pixel(scale(panel.across, x)(value))} ${y.to}V${y.from}`),
  ];
  return [
    `<path class="grid" d="${lines.join("")}"/>`,
    `<path class="axis" d="M${x.from} ${y.from}H${x.to}"/>`,
    ...up.values.map(
      (value) =>
        `<text class="end" x="${x.from - 8}" y="${pixel(height(value) + 4)}">${share ? percent(value, 0) : value.toFixed(up.decimals)}</text>`,
    ),
  ];
}

function acrossLabels({ x, y, across }: Panel, { values }: ReturnType<typeof ticks>, what: string): string[] {
  return [
    ...values.map(
      (value) =>
        `<text class="middle" x="${pixel(scale(across, x)(value))}" y="${y.from + 16}">${percent(value, 0)}</text>`,
    ),
    `<text class="middle" x="${pixel((x.from + x.to) / 2)}" y="${y.from + 32}">${what}</text>`,
  ];
}

const heading = (text: string, x: number, y = 94): string => `<text class="heading" x="${x}" y="${y}">${text}</text>`;

function curve(kind: string, panel: Panel, points: readonly Point[]): string {
  const places = points.map(({ x, y }) => at(panel, x, y));
  // A zero-length line with round caps is drawn as a dot.
  return `<path class="${kind}" d="M${places.join("L")}"/><path class="${kind} dots" d="${places.map((place) => `M${place}h0`).join("")}"/>`;
}

const at = ({ x, y, across, up }: Panel, value: number, height: number): string =>
  `${pixel(scale(across, x)(value))} ${pixel(scale(up, y)(height))}`;

const percent = (share: number, decimals = 1): string => `${(100 * share).toFixed(decimals)}%`;

const light = `
.heading{font-weight:600;fill:${colours.black.light}}
.ideal{stroke-dasharray:5 4;stroke-width:1;color:${colours.grey.light}}
.count,.bar{stroke:none;fill:${colours.grey.light};fill-opacity:.45}
.whisker{color:${colours.black.light}}
.dots{stroke-width:5}
.leader{stroke-width:1;stroke-opacity:.45}
.all{color:${colours.black.light};stroke-width:2.5}
.all.dots{stroke-width:6}
.first{color:${colours.vermilion.light}}
.second{color:${colours.green.light}}
.third{color:${colours.blue.light}}
.fourth{color:${colours.grey.light}}`;
const dark = `
.heading{fill:${colours.black.dark}}
.ideal{color:${colours.grey.dark}}
.count,.bar{fill:${colours.grey.dark}}
.whisker,.all{color:${colours.black.dark}}
.first{color:${colours.vermilion.dark}}
.second{color:${colours.green.dark}}
.third{color:${colours.blue.dark}}
.fourth{color:${colours.grey.dark}}`;
