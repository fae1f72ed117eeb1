/** Pictures of likelihoods: images next to maps of their bits per pixel, and a chart of calibration and of bits by known patches. */

import { basename } from "node:path";
import { type ModelConfig, placedLevels } from "../config/model.ts";
import { counted } from "../core/counted.ts";
import type { Split } from "../data/dataset.ts";
import { type Breakdown, calibrationOf, levelsOf } from "../evaluate/breakdown.ts";
import type { ImageLikelihood, Likelihood } from "../evaluate/likelihood.ts";
import { meanOf, type Scored, summaryOf } from "../evaluate/summary.ts";
import { gridPng, onWhite } from "../pictures/grid.ts";
import { heatColours } from "../pictures/heat.ts";
import { channelName, likelihoodSvg } from "../pictures/likelihood.ts";

/** How a likelihood was computed, in words. */
export const likelihoodInWords = {
  exact: "exact",
  estimate: "estimated from random masks (the published way)",
  order: "exact for one random generation order each",
} as const;

/** What a chart shows besides the totals: calibration, and each level's bits per patch by the number of known patches. */
export const chartPoints = (total: Breakdown, config: ModelConfig) => ({
  calibration: calibrationOf(total),
  levels: levelsOf(total).map((points, l) => {
    const { tokens: patches, patch } = placedLevels(config)[l];
    return { name: `level ${l + 1}: ${patch === 1 ? "pixels" : `patches of ${patch}x${patch}`}`, patches, points };
  }),
});

export function likelihoodChart(
  found: ReturnType<typeof chartPoints>,
  { model, kind, scored }: { model: string; kind: Likelihood; scored: readonly Scored[] },
): string {
  const { channels, guiding, bits, error } = summaryOf(scored);
  const bars = [
    { name: "all", bits, error },
    ...channels.map((channel, c) => ({ ...channel, name: channelName(c, channels.length) })),
    ...(guiding > 0 ? [{ ...meanOf(scored.map((one) => one.guiding)), name: "guiding" }] : []),
  ];
  const subtitle = `bits per dimension of ${counted(scored.length, "image")}, ${likelihoodInWords[kind]}, lower is better`;
  return likelihoodSvg({ title: `Likelihood of ${basename(model)}`, subtitle, bars, ...found });
}

/** Each image next to a map of its bits per pixel. All maps share one scale, given in the first label. */
export function likelihoodMap(
  found: readonly ImageLikelihood[],
  { config: { imageSize: size, channels }, shown, classes }: { config: ModelConfig; shown: Split; classes: string[] },
): Promise<Uint8Array> {
  const perPixel = found.map(({ map }) =>
    Float32Array.from({ length: size * size }, (_, at) =>
      map.subarray(at * channels, (at + 1) * channels).reduce((a, b) => a + b, 0),
    ),
  );
  const most = 8 * channels;
  const bytes = size * size * 3;
  const pictures = new Uint8Array(found.length * 2 * bytes);
  found.forEach(({ index }, i) => {
    pictures.set(onWhite(shown.image(index), channels), 2 * i * bytes);
    pictures.set(heatColours(perPixel[i], most), (2 * i + 1) * bytes);
  });
  const labels = found.flatMap(({ label, bits }, i) => [
    classes[label],
    i === 0 ? `0 to ${most} bits` : `${bits.toFixed(2)} bits/dim`,
  ]);
  return gridPng(pictures, { count: labels.length, size, channels: 3, labels, columns: 8 });
}
