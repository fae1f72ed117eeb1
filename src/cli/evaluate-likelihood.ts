/** `fractalgen evaluate likelihood`: bits per dimension of images. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { type Command, Option } from "commander";
import { type ModelConfig, placedLevels } from "../config/model.ts";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { evenly, type Dataset, type Split } from "../data/dataset.ts";
import { addBreakdown, type Breakdown, calibrationOf, emptyBreakdown, levelsOf } from "../evaluate/breakdown.ts";
import { type ImageLikelihood, type Likelihood, likelihoodOf, likelihoods } from "../evaluate/likelihood.ts";
import { meanOf, summaryOf, type Scored } from "../evaluate/summary.ts";
import { appendLine, writeFileAtomic } from "../files/atomic.ts";
import { checksum } from "../files/checksum.ts";
import { externalModel } from "../files/external.ts";
import { own } from "../files/ownership.ts";
import { gridPng, onWhite } from "../pictures/grid.ts";
import { heatColours } from "../pictures/heat.ts";
import { channelName, likelihoodSvg } from "../pictures/likelihood.ts";
import { checkDataset } from "../train/trainer.ts";
import { addDataOptions, type DataFlags, openFor } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { skippedLines } from "./image-sets.ts";
import { findModel, modelOption } from "./models.ts";
import { checkFile } from "./outputs.ts";
import { duration, rateOf } from "./progress.ts";
import { withProgress } from "./running.ts";
import { filled, oneOf, seeds, whole } from "./values.ts";
import type { Provider } from "../engine/engine.ts";

interface LikelihoodFlags extends DataFlags {
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

const parts = ["held-out", "train"] as const;

export function addLikelihood(evaluate: Command): void {
  const command = evaluate
    .command("likelihood")
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .summary("bits per dimension of images")
    .description(
      "Bits per dimension of images, with the standard error of their mean. Exact for AR models. Of MAR models the published estimate, which hides a random number of patches of every square; or with --order the exact likelihood of one random generation order.",
    )
    .optionsGroup("Of what:")
    .addOption(modelOption())
    .requiredOption("--data <name|path>", "emoji, or images as for fractalgen train", filled)
    .addOption(new Option("--part <name>", "of the data").choices(parts).default("held-out").argParser(oneOf(parts)))
    .option("--images <n>", "at most so many, evenly spaced (default: all)", whole({ least: 2 }));
  addDataOptions(command)
    .optionsGroup("How:")
    .option("--passes <n>", "estimates or orders that are averaged for each image", whole({ least: 1, most: 65536 }), 1)
    .option("--order", "of MAR models exactly one random generation order, one patch a step")
    .option("--conditional", "with the images' classes (default: the null class, as published)")
    .option("--seed <n>", "of the random draws", seeds, 0)
    .optionsGroup("What is written:")
    .option("--per-image <file>", "a line of JSON for each image; an interrupted run goes on from it", filled)
    .option(
      "--map <file>",
      "where the bits go: a PNG of 8 images, each beside its bits per pixel; exact or --order",
      filled,
    )
    .option(
      "--chart <file>",
      "an SVG of calibration, bits by channel, and bits by how much of a square was known; takes all images at once",
      filled,
    )
    .option("--json", "print one line of JSON, no progress")
    .optionsGroup("How it runs:")
    .option("--batch <n>", "views of images at once; no result depends on it", whole({ least: 1, most: 4096 }), 64)
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate likelihood --model emoji --data emoji --passes 4\n  fractalgen evaluate likelihood --model runs/photos --data photos/ --order --per-image photos.jsonl\n  fractalgen evaluate likelihood --data emoji --images 100 --chart likelihood.svg",
    )
    .action(likelihood);
}

async function likelihood(flags: LikelihoodFlags): Promise<void> {
  const folder = await findModel(flags.model);
  const model = externalModel(folder);
  const { config } = model;
  if (flags.perImage !== undefined) checkFile(flags.perImage, { option: "--per-image", endings: [".jsonl"] });
  if (flags.map !== undefined) checkFile(flags.map, { option: "--map", endings: [".png"] });
  if (flags.chart !== undefined) checkFile(flags.chart, { option: "--chart", endings: [".svg"] });
  const kind = likelihoodOf(config, { inOrder: flags.order });
  if (flags.map !== undefined && kind === "estimate")
    throw new UserError("--map: an estimate takes some pixels several times and others never; give --order as well");
  const again = flags.chart === undefined ? "the same command" : "the same command without --chart";
  const left = flags.perImage === undefined ? undefined : `; ${again} goes on from here`;
  await withProgress({ quiet: flags.json, left }, async ({ progress, signal, closing }) => {
    if (flags.perImage !== undefined) closing(await own(flags.perImage, { signal }), ({ release }) => release());
    const dataset = await openFor(config, flags, { progress, signal });
    // A single class has the name of its folder, whatever that is.
    const sameClasses = flags.conditional && !(config.classes.length === 1 && dataset.classes.length === 1);
    checkDataset(sameClasses ? config : { ...config, classes: dataset.classes }, dataset);
    const split = partOf(dataset, flags);
    const settings = {
      kind,
      passes: kind === "exact" ? 1 : flags.passes,
      conditional: flags.conditional ?? false,
      seed: flags.seed,
      part: flags.part,
      images: split.count,
      data: dataset.fingerprint,
      weights: flags.perImage === undefined ? undefined : await checksum(folder.weights.path, { signal }),
    };
    const scored = flags.perImage === undefined ? [] : await linesBefore(flags.perImage, settings);
    if (flags.chart !== undefined && scored.length > 0)
      throw new UserError(
        `--chart: ${flags.perImage} has ${counted(scored.length, "image")} of an earlier run, and the sums behind a chart are not kept in it; give --per-image another name, or leave --chart out`,
      );
    const total = flags.chart === undefined ? undefined : emptyBreakdown(config);
    const engine = await openEngine(flags);
    const from = scored.length;
    const started = performance.now();
    const options = { inOrder: flags.order, passes: flags.passes, conditional: flags.conditional, seed: flags.seed };
    for await (const one of likelihoods(engine, model, split, {
      ...options,
      batch: flags.batch,
      breakdown: !!total,
      from,
      signal,
    })) {
      if (total) addBreakdown(total, one.breakdown!);
      const line = lineOf(one, { dataset, split });
      if (flags.perImage !== undefined) await appendLine(flags.perImage, JSON.stringify(line));
      scored.push(line);
      const rate = ((scored.length - from) / (performance.now() - started)) * 1000;
      const mean = scored.reduce((sum, { bits }) => sum + bits, 0) / scored.length;
      progress.update(
        `${scored.length} of ${split.count} images  ${mean.toFixed(3)} bits/dim  ${rateOf(rate)}  ${duration((split.count - scored.length) / rate)} left`,
      );
    }
    if (flags.map !== undefined) {
      progress.update("drawing where the bits go");
      const shown = evenly(split, shownImages);
      const found: ImageLikelihood[] = [];
      for await (const one of likelihoods(engine, model, shown, { ...options, batch: flags.batch, signal }))
        found.push(one);
      await writeFileAtomic(flags.map, await mapPng(found, { config, shown, classes: dataset.classes }));
    }
    const found = total && foundIn(total, config);
    if (found) await writeFileAtomic(flags.chart!, chartSvg(found, { model: flags.model, kind, scored }));
    progress.clear();
    const summary = { model: flags.model, ...settings, ...summaryOf(scored) };
    const { skipped } = dataset;
    console.log(
      flags.json
        ? JSON.stringify({ ...summary, ...found, skipped })
        : [table(summary), ...skippedLines(skipped)].join("\n"),
    );
  });
}

/** What --chart shows beside the bits: calibration, and what a level's patches cost by how many were known. */
const foundIn = (total: Breakdown, config: ModelConfig) => ({
  calibration: calibrationOf(total),
  levels: levelsOf(total).map((points, l) => {
    const { tokens: patches, patch } = placedLevels(config)[l];
    return { name: `level ${l + 1}: ${patch === 1 ? "pixels" : `patches of ${patch}x${patch}`}`, patches, points };
  }),
});

function chartSvg(
  found: ReturnType<typeof foundIn>,
  { model, kind, scored }: { model: string; kind: Likelihood; scored: readonly Scored[] },
): string {
  const { channels, guiding, bits, error } = summaryOf(scored);
  const bars = [
    { name: "all", bits, error },
    ...channels.map((channel, c) => ({ ...channel, name: channelName(c, channels.length) })),
    ...(guiding > 0 ? [{ ...meanOf(scored.map((one) => one.guiding)), name: "guiding" }] : []),
  ];
  const subtitle = `bits per dimension of ${counted(scored.length, "image")}, ${told[kind]}, lower is better`;
  return likelihoodSvg({ title: `Likelihood of ${basename(model)}`, subtitle, bars, ...found });
}

const shownImages = 8;

/** Each image beside its bits per pixel, all on one scale, which the first pair's label says. */
function mapPng(
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

function partOf(dataset: Dataset, { part, images }: LikelihoodFlags): Split {
  const split = part === "train" ? dataset.train : dataset.heldOut;
  if (split.count < 2)
    throw new UserError(
      `the ${part} part of ${dataset.name} has ${counted(split.count, "image")}; a mean with its error needs at least 2, give --held-out or --part train`,
    );
  return images === undefined ? split : evenly(split, images);
}

const lineOf = (
  { index, label, bits, channels, guiding }: ImageLikelihood,
  { dataset, split }: { dataset: Dataset; split: Split },
): Scored => ({ name: split.names[index], class: dataset.classes[label], bits, channels, guiding });

/** What an interrupted run with the same settings wrote; begins the file where there is none. */
async function linesBefore(path: string, settings: object): Promise<Scored[]> {
  const head = JSON.stringify(settings);
  if (!existsSync(path)) {
    await writeFileAtomic(path, `${head}\n`);
    return [];
  }
  const text = await readFile(path, "utf8");
  const [first, ...lines] = text.split("\n");
  if (first !== head)
    throw new UserError(
      `--per-image: ${path} was written for another model, other data or other options; give another name, or the options of then to go on`,
    );
  // A kill can leave half a line.
  const whole = lines.slice(0, -1);
  if (!text.endsWith("\n")) await writeFileAtomic(path, [first, ...whole, ""].join("\n"));
  return whole.map((line) => JSON.parse(line) as Scored);
}

const told = {
  exact: "exact",
  estimate: "estimated from random masks (the published way)",
  order: "exact for one random generation order each",
} as const;

function table({
  model,
  kind,
  passes,
  conditional,
  images,
  ...summary
}: ReturnType<typeof summaryOf> & {
  model: string;
  kind: keyof typeof told;
  passes: number;
  conditional: boolean;
  images: number;
}): string {
  const row = (name: string, { bits, error, count }: { bits: number; error: number; count: number }) =>
    `  ${name.padEnd(24)} ${bits.toFixed(4).padStart(8)} ${count > 1 ? `± ${error.toFixed(4)}  ${count} images` : "           1 image"}`;
  const classes = Object.entries(summary.classes);
  const shown = classes.slice(0, 30);
  return [
    `${model}: bits per dimension of ${counted(images, "image")}, ${told[kind]}${passes > 1 ? `, mean of ${passes}` : ""}, ${conditional ? "with their classes" : "null class"}`,
    row("all", summary),
    ...summary.channels.map((channel, c) => row(`channel ${c}`, { ...channel, count: images })),
    ...(summary.guiding > 0 ? [`  guiding pixels take ${summary.guiding.toFixed(4)} beside these`] : []),
    ...shown.map(([name, one]) => row(name, one)),
    ...(classes.length > shown.length
      ? [`  and ${classes.length - shown.length} more classes (--json has them all)`]
      : []),
  ].join("\n");
}
