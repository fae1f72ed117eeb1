/** `fractalgen evaluate quality`: how far generated images are from real ones, by the features of a network. */

import { existsSync } from "node:fs";
import { extname } from "node:path";
import { type Command, Option } from "commander";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { openNpz } from "../data/npz.ts";
import { findSource } from "../data/formats.ts";
import type { Provider } from "../engine/engine.ts";
import type { FeatureNetwork } from "../evaluate/features.ts";
import type { Spread } from "../evaluate/metrics.ts";
import { type Quality, qualityOf, type Reference } from "../evaluate/quality.ts";
import { readStatistics, writeStatistics } from "../evaluate/statistics.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { measureSet, openNetwork } from "./feature-network.ts";
import { addDrawing, addGenerated, findGenerated, type GeneratedFlags, leftOf, openBeside } from "./generated.ts";
import { parts, type Part, partSet, sizeLines, skippedLines } from "./image-sets.ts";
import { keptFeatures } from "./kept-features.ts";
import { checkFile } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { filled, oneOf, whole } from "./values.ts";

interface QualityFlags extends DataFlags, GeneratedFlags {
  reference: string;
  part?: Part;
  features?: string;
  subsets: number;
  subsetSize?: number;
  splits: number;
  neighbours: number;
  saveStats?: string;
  json?: boolean;
  device: Provider;
}

export function addQuality(evaluate: Command): void {
  const command = addGenerated(
    evaluate
      .command("quality")
      .exitOverride()
      .configureOutput({ outputError: () => {} })
      .summary("FID, KID, Inception Score, precision and recall")
      .description(
        "How far generated images are from real ones: FID, KID, Inception Score, precision and recall as torch-fidelity computes them. With FID's Inception-v3 where it is there (fractalgen download inception), else with a small network that is trained on the data's own classes; numbers of that one compare models on the same data, and nothing else.",
      )
      .optionsGroup("Of what:"),
  )
    .requiredOption(
      "--reference <data|stats.npz>",
      "emoji, or images as for fractalgen train; or statistics (mu, sigma)",
      filled,
    )
    .addOption(
      new Option(
        "--part <name>",
        "of the reference (default: train where a part is held out, else all); with train, what is held out is measured beside",
      )
        .choices(parts)
        .argParser(oneOf(parts)),
    );
  addDataOptions(command)
    .optionsGroup("Measures:")
    .option(
      "--features <name|dir>",
      "inception, own (trained where need be), or the folder of a network of fractalgen evaluate features",
      filled,
    )
    .option("--subsets <n>", "of KID", whole({ least: 1, most: 100_000 }), 100)
    .option("--subset-size <n>", "images in one (default: 1000, or all of the smaller set)", whole({ least: 2 }))
    .option("--splits <n>", "of the Inception Score", whole({ least: 1, most: 1000 }), 10)
    .option("--neighbours <k>", "of precision and recall", whole({ least: 1, most: 1000 }), 3)
    .option("--save-stats <file>", "the reference's statistics, as .npz that --reference takes", filled)
    .option("--json", "print one line of JSON, no progress");
  addDrawing(command, { count: 1000 })
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate quality --generated emoji --reference emoji -n 500\n  fractalgen evaluate quality --generated samples/ --reference photos/ --features inception --save-stats photos.npz\n  fractalgen evaluate quality --generated in64/ --reference adm_in64_stats.npz",
    )
    .action(quality);
}

async function quality(flags: QualityFlags): Promise<void> {
  if (flags.saveStats !== undefined) checkFile(flags.saveStats, { option: "--save-stats", endings: [".npz"] });
  const statistics = (await isStatistics(flags.reference)) ? await readStatistics(flags.reference) : undefined;
  if (statistics && flags.saveStats !== undefined)
    throw new UserError("--save-stats: the reference is a file of statistics already");
  await withProgress({ quiet: flags.json, left: leftOf(flags) }, async ({ progress, signal, closing }) => {
    const kept = keptFeatures(flags.cache);
    const context = { progress, signal, kept };
    const found = await findGenerated(flags, context);
    const dataset = statistics ? undefined : await openBeside(flags.reference, found, flags, context);
    const engine = await openEngine(flags);
    const opened = await openNetwork(engine, { ...flags, dataset, progress, signal });
    const network = closing(opened, (one) => one.dispose?.());
    checkNetwork(network, { imageSize: found.size, statistics });
    const set = closing(await found.open(engine, dataset), (one) => one.dispose?.());
    const generated = await measureSet(engine, network, set, context);
    const part = flags.part ?? (dataset && (await usualPart(flags)));
    const real = dataset && partSet(dataset, part!);
    const reference: Reference = real ? await measureSet(engine, network, real, context) : { statistics: statistics! };
    if (flags.saveStats !== undefined) await writeStatistics(flags.saveStats, reference.statistics);
    const options = { ...flags, signal, onMetric: (name: string) => progress.update(`computing: ${name}`) };
    const columns: Record<string, Quality> = {
      generated: await qualityOf(engine, { generated, reference }, options),
    };
    const heldOut = dataset && part === "train" ? partSet(dataset, "held-out") : undefined;
    if (heldOut && heldOut.count >= Math.max(flags.splits, flags.neighbours + 1, flags.subsetSize ?? 2)) {
      const beside = await measureSet(engine, network, heldOut, context);
      columns["heldOut"] = await qualityOf(engine, { generated: beside, reference }, options);
    }
    kept.forget();
    progress.clear();
    const resized = { generated: set.resized ?? 0, reference: dataset?.report?.resized ?? 0 };
    const described = {
      generated: set.name,
      imageSize: found.size,
      resized,
      drawn: found.settings,
      reference: real?.name ?? flags.reference,
      referenceImages: real?.count,
      features: { kind: network.kind, name: network.name, width: network.width },
    };
    const skipped = [...set.skipped, ...(dataset?.skipped ?? [])];
    if (flags.json) {
      const keys = Object.entries(columns).map(([name, one]) => [name, keyed(one, network)]);
      console.log(JSON.stringify({ ...described, skipped, ...Object.fromEntries(keys) }));
    } else console.log(table(described, columns, { network, skipped }));
  });
}

/** All images, unless some of them are held out from training: by the data's own layout, or because that was asked for. */
async function usualPart({ reference, heldOut, group }: QualityFlags): Promise<Part> {
  if (reference === "emoji" || heldOut !== undefined || group !== undefined) return "train";
  const source = await (await findSource(reference, {})).open();
  return source.heldOutName === undefined ? "all" : "train";
}

/** An archive with a mean and a covariance, and without images. */
async function isStatistics(path: string): Promise<boolean> {
  if (extname(path) !== ".npz" || !existsSync(path)) return false;
  const npz = await openNpz(path);
  try {
    return npz.names.includes("mu") && npz.names.includes("sigma") && !npz.names.includes("arr_0");
  } finally {
    npz.close();
  }
}

function checkNetwork(
  { kind, width, imageSize }: FeatureNetwork,
  given: { imageSize: number; statistics?: { mu: Float64Array } },
): void {
  if (imageSize !== undefined && imageSize !== given.imageSize)
    throw new UserError(
      `--features: the network was trained on images of ${imageSize}x${imageSize} pixels, the generated images are ${given.imageSize}x${given.imageSize}; train one with fractalgen evaluate features --image-size ${given.imageSize}`,
    );
  if (given.statistics && given.statistics.mu.length !== width)
    throw new UserError(
      `--reference: the statistics are of ${given.statistics.mu.length} dimensions, but ${kind === "inception" ? "Inception-v3" : "the network"} gives ${width}; take statistics of the same features`,
    );
}

/** Names of the literature stand for Inception's features alone. */
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

const figure = (value: number): string => (value === 0 ? "0" : value.toPrecision(4));
const spread = ({ mean, spread }: Spread): string => `${figure(mean)} ± ${spread.toPrecision(2)}`;

interface Described {
  generated: string;
  imageSize: number;
  /** How many images were cropped or scaled down to that size. */
  resized: { generated: number; reference: number };
  reference: string;
  referenceImages?: number;
}

function table(
  { generated, imageSize, resized, reference, referenceImages }: Described,
  columns: Record<string, Quality>,
  { network, skipped }: { network: FeatureNetwork; skipped: readonly { name: string; reason: string }[] },
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
    `features: ${network.name}, ${network.width} dimensions${own ? "; FID, KID and Inception Scores of the literature are others" : ""}`,
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
          `  ${all[0].images} images are few for ${network.width} dimensions: the Fréchet distance comes out too high, and compares only with those of as many images`,
        ]
      : []),
    ...skippedLines(skipped),
  ].join("\n");
}
