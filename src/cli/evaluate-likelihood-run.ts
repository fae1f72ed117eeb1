/** The work of `fractalgen evaluate likelihood`: checks, progress and output. */

import { counted } from "../core/counted.ts";
import { duration, rateOf } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import { type Dataset, evenly } from "../data/dataset.ts";
import { checkDataset } from "../data/fits.ts";
import type { Provider } from "../engine/engine.ts";
import { emptyBreakdown } from "../evaluate/breakdown.ts";
import { type ImageLikelihood, likelihoodOf, likelihoods } from "../evaluate/likelihood.ts";
import { meanOf, summaryOf } from "../evaluate/summary.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import { externalModel } from "../files/external.ts";
import { own } from "../files/ownership.ts";
import { likelihoodSplit, linesBefore, measureLikelihood } from "../measures/likelihood.ts";
import { chartPoints, likelihoodChart, likelihoodMap } from "../measures/likelihood-pictures.ts";
import { type DataFlags, openFor } from "./data-options.ts";
import { openEngine } from "./engine.ts";
import { likelihoodTable } from "./evaluate-likelihood-table.ts";
import { findModel } from "./models.ts";
import { checkFile } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { skippedLines } from "./set-lines.ts";

export interface LikelihoodFlags extends DataFlags {
  model: string;
  data: string;
  part: "held-out" | "train";
  images?: number;
  passes: number;
  order?: boolean;
  conditional?: boolean;
  seed: number;
  perImage?: string;
  map?: string;
  chart?: string;
  batch: number;
  json?: boolean;
  device: Provider;
  threads?: number;
}

const shownImages = 8;

export async function likelihood(flags: LikelihoodFlags): Promise<void> {
  const { perImage, map, chart, passes, conditional = false, seed, part } = flags;
  const folder = await findModel(flags.model);
  const model = externalModel(folder);
  const { config } = model;
  if (perImage !== undefined) checkFile(perImage, { option: "--per-image", endings: [".jsonl"] });
  if (map !== undefined) checkFile(map, { option: "--map", endings: [".png"] });
  if (chart !== undefined) checkFile(chart, { option: "--chart", endings: [".svg"] });
  const kind = likelihoodOf(config, { inOrder: flags.order });
  if (map !== undefined && kind === "estimate")
    throw new UserError("--map: the estimate scores some pixels several times and others never; add --order");
  const again = chart === undefined ? "the same command" : "the same command without --chart";
  const left = perImage === undefined ? undefined : `; run ${again} to resume`;
  await withProgress({ quiet: flags.json, left }, async ({ progress, signal, closing }) => {
    if (perImage !== undefined) closing(await own(perImage, { signal }), ({ release }) => release());
    const dataset = await openFor(config, flags, { progress, signal });
    checkClasses(dataset);
    const split = likelihoodSplit(dataset, flags);
    const settings = {
      kind,
      passes: kind === "exact" ? 1 : passes,
      conditional,
      seed,
      part,
      images: split.count,
      data: dataset.fingerprint,
      weights: perImage === undefined ? undefined : await checksum(folder.weights.path, { signal }),
    };
    const scored = perImage === undefined ? [] : await linesBefore(perImage, settings);
    if (chart !== undefined && scored.length > 0)
      throw new UserError(
        `--chart: ${perImage} has ${counted(scored.length, "image")} from an earlier run, but not the sums that a chart needs. Give --per-image another name, or omit --chart`,
      );
    const total = chart === undefined ? undefined : emptyBreakdown(config);
    const engine = await openEngine(flags);
    const options = { inOrder: flags.order, passes, conditional, seed, batch: flags.batch, signal };
    const line = progressLine(scored.length, split.count);
    for await (const all of measureLikelihood(engine, model, { ...options, dataset, split, perImage, total, scored }))
      progress.update(line(all));
    if (map !== undefined) {
      progress.update("drawing the map of bits");
      const shown = evenly(split, shownImages);
      const found: ImageLikelihood[] = [];
      for await (const one of likelihoods(engine, model, shown, options)) found.push(one);
      await writeFileAtomic(map, await likelihoodMap(found, { config, shown, classes: dataset.classes }));
    }
    const found = total && chartPoints(total, config);
    if (found) await writeFileAtomic(chart!, likelihoodChart(found, { model: flags.model, kind, scored }));
    progress.clear();
    const summary = { model: flags.model, ...settings, ...summaryOf(scored) };
    const { skipped } = dataset;
    console.log(
      flags.json
        ? JSON.stringify({ ...summary, ...found, skipped })
        : [likelihoodTable(summary), ...skippedLines(skipped)].join("\n"),
    );
  });

  /** With a single class, its name (that of its folder) does not matter; without conditioning, no class name does. */
  function checkClasses(dataset: Dataset): void {
    const same = conditional && !(config.classes.length === 1 && dataset.classes.length === 1);
    checkDataset(same ? config : { ...config, classes: dataset.classes }, dataset);
  }
}

function progressLine(from: number, count: number): (scored: readonly { bits: number }[]) => string {
  const started = performance.now();
  return (scored) => {
    const rate = ((scored.length - from) / (performance.now() - started)) * 1000;
    const { bits } = meanOf(scored.map((one) => one.bits));
    return `${scored.length} of ${count} images  ${bits.toFixed(3)} bits/dim  ${rateOf(rate)}  ${duration((count - scored.length) / rate)} left`;
  };
}
