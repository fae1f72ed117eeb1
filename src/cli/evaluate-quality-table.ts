/** What `fractalgen evaluate quality` prints: a table, or the record of --json. */

import { counted } from "../core/counted.ts";
import type { Skipped } from "../data/dataset.ts";
import type { FeatureNetwork } from "../evaluate/features.ts";
import type { MeanAndSpread } from "../evaluate/metrics.ts";
import type { Quality } from "../evaluate/quality.ts";
import { sizeLines, skippedLines } from "./set-lines.ts";

/** The names from the literature (FID, KID) are used only for Inception features. */
const namesOf = ({ kind }: FeatureNetwork) =>
  kind === "inception"
    ? { frechetDistance: "fid", kernelDistance: "kid", score: "inceptionScore" }
    : { frechetDistance: "ownFrechetDistance", kernelDistance: "ownKernelDistance", score: "ownClassScore" };

function keyed({ images, frechetDistance, kernelDistance, score, ...others }: Quality, network: FeatureNetwork) {
  const names = namesOf(network);
  return {
    images,
    [names.frechetDistance]: frechetDistance,
    [names.kernelDistance]: kernelDistance,
    [names.score]: score,
    ...others,
  };
}

/** One line of JSON. */
export function qualityRecord(
  described: object,
  columns: Record<string, Quality>,
  { network, skipped }: { network: FeatureNetwork; skipped: readonly Skipped[] },
): string {
  const keys = Object.entries(columns).map(([name, one]) => [name, keyed(one, network)]);
  return JSON.stringify({ ...described, skipped, ...Object.fromEntries(keys) });
}

const figure = (value: number): string => (value === 0 ? "0" : value.toPrecision(4));
const spread = ({ mean, spread }: MeanAndSpread): string => `${figure(mean)} ± ${spread.toPrecision(2)}`;

export interface Described {
  generated: string;
  imageSize: number;
  /** How many images were cropped or scaled down to `imageSize`. */
  resized: { generated: number; reference: number };
  reference: string;
  referenceImages?: number;
}

export function qualityTable(
  { generated, imageSize, resized, reference, referenceImages }: Described,
  columns: Record<string, Quality>,
  { network, skipped }: { network: FeatureNetwork; skipped: readonly Skipped[] },
): string {
  const all = Object.values(columns);
  const own = network.kind === "own";
  const row = (name: string, of: (quality: Quality) => string | undefined): string[] => {
    const cells = all.map((quality) => of(quality) ?? "");
    return cells.some(Boolean)
      ? [`  ${name.padEnd(34)}${cells.map((cell) => cell.padEnd(22)).join("")}`.trimEnd()]
      : [];
  };
  const [{ kernelDistance: kernel, score }] = all;
  const few = all[0].images <= network.width;
  return [
    `${generated} against ${reference}${referenceImages === undefined ? "" : ` (${counted(referenceImages, "image")})`}`,
    `features: ${network.name}, ${network.width} dimensions${own ? "; not comparable with published FID, KID or Inception Score" : ""}`,
    ...sizeLines(imageSize, [
      { name: generated, resized: resized.generated },
      { name: reference, resized: resized.reference },
    ]),
    `  ${"".padEnd(34)}${["generated", "held-out images"]
      .slice(0, all.length)
      .map((name) => name.padEnd(22))
      .join("")}`.trimEnd(),
    ...row("images", ({ images }) => String(images)),
    ...row(own ? "Fréchet distance, own features" : "FID", ({ frechetDistance }) => figure(frechetDistance)),
    ...row(
      `${own ? "kernel distance, own features" : "KID"}`,
      ({ kernelDistance }) => kernelDistance && spread(kernelDistance),
    ),
    ...row(own ? "class score, own features" : "Inception Score", (quality) => spread(quality.score)),
    ...row("precision", ({ precision }) => precision?.toFixed(4)),
    ...row("recall", ({ recall }) => recall?.toFixed(4)),
    ...(kernel
      ? [
          `  over ${counted(kernel.subsets, "subset")} of ${counted(kernel.subsetSize, "image")}, ${counted(score.splits, "split")}; lower distances are better`,
        ]
      : []),
    ...(few
      ? [
          `  ${all[0].images} images are too few for ${network.width} dimensions: the Fréchet distance is biased upwards; compare it only with results for the same number of images`,
        ]
      : []),
    ...skippedLines(skipped),
  ].join("\n");
}
