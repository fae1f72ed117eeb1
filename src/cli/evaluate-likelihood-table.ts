/** What `fractalgen evaluate likelihood` prints as a table. */

import { duration, rateOf } from "../core/duration.ts";
import { meanOf } from "../evaluate/summary.ts";
import { counted } from "../core/counted.ts";
import type { Likelihood } from "../evaluate/likelihood.ts";
import type { summaryOf } from "../evaluate/summary.ts";
import { likelihoodInWords } from "../measures/likelihood-pictures.ts";

export function likelihoodTable({
  model,
  kind,
  passes,
  conditional,
  images,
  ...summary
}: ReturnType<typeof summaryOf> & {
  model: string;
  kind: Likelihood;
  passes: number;
  conditional: boolean;
  images: number;
}): string {
  const row = (name: string, { bits, error, count }: { bits: number; error: number; count: number }) =>
    `  ${name.padEnd(24)} ${bits.toFixed(4).padStart(8)} ${count > 1 ? `± ${error.toFixed(4)}  ${count} images` : "           1 image"}`;
  const classes = Object.entries(summary.classes);
  const shown = classes.slice(0, 30);
  return [
    `${model}: bits per dimension of ${counted(images, "image")}, ${likelihoodInWords[kind]}${passes > 1 ? `, mean of ${passes}` : ""}, ${conditional ? "with their classes" : "null class"}`,
    row("all", summary),
    ...summary.channels.map((channel, c) => row(`channel ${c}`, { ...channel, count: images })),
    ...(summary.guiding > 0 ? [`  guiding pixels add ${summary.guiding.toFixed(4)} on top of these`] : []),
    ...shown.map(([name, one]) => row(name, one)),
    ...(classes.length > shown.length
      ? [`  and ${classes.length - shown.length} more classes (--json has them all)`]
      : []),
  ].join("\n");
}

/** Progress: images, their mean so far, rate and time left. */
export function scoringLine(from: number, count: number): (scored: readonly { bits: number }[]) => string {
  const started = performance.now();
  return (scored) => {
    const rate = ((scored.length - from) / (performance.now() - started)) * 1000;
    const { bits } = meanOf(scored.map((one) => one.bits));
    return `${scored.length} of ${count} images  ${bits.toFixed(3)} bits/dim  ${rateOf(rate)}  ${duration((count - scored.length) / rate)} left`;
  };
}
