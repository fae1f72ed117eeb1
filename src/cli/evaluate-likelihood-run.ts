/** The work of `fractalgen evaluate likelihood`: checks, progress and output. */

import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { type Dataset, evenly } from "../data/dataset.ts";
import { checkDataset } from "../data/fits.ts";
import { emptyBreakdown } from "../evaluate/breakdown.ts";
import { type ImageLikelihood, likelihoodOf, likelihoods } from "../evaluate/likelihood.ts";
import { summaryOf } from "../evaluate/summary.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import { externalModel } from "../files/external.ts";
import { own } from "../files/ownership.ts";
import { likelihoodSplit, linesBefore, measureLikelihood } from "../measures/likelihood.ts";
import { chartPoints, likelihoodChart, likelihoodMap } from "../measures/likelihood-pictures.ts";
import { openFor } from "./data-options.ts";
import { openEngine, unusual } from "./engine.ts";
import type { LikelihoodFlags } from "./evaluate-likelihood-flags.ts";
import { likelihoodTable, scoringLine } from "./evaluate-likelihood-table.ts";
import { findModel } from "./models.ts";
import { checkFile } from "./outputs.ts";
import { checkQueue, workersOf } from "./queue-options.ts";
import { openRemote } from "./remote.ts";
import { withProgress } from "./running.ts";
import type { Command } from "commander";
import { commandArgs } from "./shard.ts";
import { scoreShard } from "./shard-likelihood.ts";
import { skippedLines } from "./set-lines.ts";

const shownImages = 8;

export async function likelihood(flags: LikelihoodFlags, command: Command): Promise<void> {
  checkQueue(flags);
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
  const args = commandArgs(command);
  const precision = unusual(flags.precision);
  await withProgress({ quiet: flags.json, left }, async (running) => {
    const { progress, signal, closing } = running;
    const dataset = await openFor(config, flags, { progress, signal });
    checkClasses(dataset);
    const split = likelihoodSplit(dataset, flags);
    const asked = { inOrder: flags.order, passes, conditional, seed, batch: flags.batch };
    if (flags.shard) {
      const breakdown = chart !== undefined;
      return scoreShard(
        flags,
        args,
        { folder, scored: { dataset, part, split }, options: { ...asked, breakdown, precision } },
        running,
      );
    }
    if (perImage !== undefined) closing(await own(perImage, { signal }), ({ release }) => release());
    const settings = {
      kind,
      passes: kind === "exact" ? 1 : passes,
      conditional,
      seed,
      part,
      images: split.count,
      precision,
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
    const onBatch = (image: number, share: number) => {
      const part = `, ${Math.floor(share * 100)}% of the next`; // with many passes, one image takes minutes
      if (share < 1) progress.update(`${image} of ${split.count} images${part}`);
    };
    const options = { ...asked, signal };
    const line = scoringLine(scored.length, split.count);
    const remote = await openRemote({ ...flags, joins: flags.joined ? args : undefined }, running);
    const score = remote?.score(folder, { dataset, part, split });
    const measure = { ...options, onBatch, dataset, split, perImage, total, scored, score };
    for await (const all of measureLikelihood(engine, model, measure))
      progress.update(`${line(all)}${remote ? `  ${workersOf(remote.executor)}` : ""}`);
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
