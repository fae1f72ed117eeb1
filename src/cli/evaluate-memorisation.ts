/** `fractalgen evaluate memorisation`: how near generated images are to training images, beside held-out ones. */

import { type Command, Option } from "commander";
import { UserError } from "../core/errors.ts";
import { type Dataset, evenly, imagesBetween, type Split } from "../data/dataset.ts";
import type { Engine, Provider } from "../engine/engine.ts";
import type { Features } from "../evaluate/metrics-products.ts";
import {
  type Closeness,
  closenessOf,
  inParts,
  nearest,
  type Nearest,
  pixelRows,
  shareBelow,
} from "../evaluate/nearest.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { gridPng, onWhite } from "../pictures/grid.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { measureSet, type OpenedNetwork, openNetwork } from "./feature-network.ts";
import { addDrawing, addGenerated, findGenerated, type GeneratedFlags, leftOf, openBeside } from "./generated.ts";
import { type ImageSet, partSet, sizeLines, skippedLines } from "./image-sets.ts";
import { type KeptFeatures, keptFeatures } from "./kept-features.ts";
import { checkFile } from "./outputs.ts";
import type { Progress } from "./progress.ts";
import { withProgress } from "./running.ts";
import { filled, oneOf, whole } from "./values.ts";

const measures = ["pixels", "features"] as const;
type Measure = (typeof measures)[number];

interface MemorisationFlags extends DataFlags, GeneratedFlags {
  data: string;
  features?: string;
  pairs?: string;
  pairsBy: Measure;
  pairsCount: number;
  json?: boolean;
  device: Provider;
}

export function addMemorisation(evaluate: Command): void {
  const command = addGenerated(
    evaluate
      .command("memorisation")
      .exitOverride()
      .configureOutput({ outputError: () => {} })
      .summary("how near generated images are to training images")
      .description(
        "The distance of every generated image to the nearest training image, beside the same of held-out images, which no model has seen: by pixels (root mean squared difference, of 1) and by a network's features. A model that learnt its images by heart is nearer to them than held-out images are.",
      )
      .optionsGroup("Of what:"),
  ).requiredOption("--data <name|path>", "what the model was trained on: emoji, or as for fractalgen train", filled);
  addDataOptions(command)
    .optionsGroup("Measures:")
    .option(
      "--features <name|dir>",
      "inception, own (trained where need be), or the folder of a network of fractalgen evaluate features",
      filled,
    )
    .option("--pairs <file>", "a PNG of the nearest pairs: generated, and the training image beside it", filled)
    .addOption(
      new Option("--pairs-by <measure>", "which distance these are the nearest by")
        .choices(measures)
        .argParser(oneOf(measures))
        .default("features"),
    )
    .option("--pairs-count <n>", "how many", whole({ least: 1, most: 1000 }), 16)
    .option("--json", "print one line of JSON, no progress");
  addDrawing(command, { count: 200 })
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate memorisation --generated emoji --data emoji --pairs pairs.png\n  fractalgen evaluate memorisation --generated samples/ --data photos/ --pairs pairs.png --pairs-by pixels",
    )
    .action(memorisation);
}

interface Context {
  progress: Progress;
  signal: AbortSignal;
  kept: KeptFeatures;
}

/** Images of a set that are looked for among the training images, with their features. */
interface Queries {
  /** Bytes [S, S, C] each. */
  images: Uint8Array[];
  features: Features;
}

async function memorisation(flags: MemorisationFlags): Promise<void> {
  if (flags.pairs !== undefined) checkFile(flags.pairs, { option: "--pairs", endings: [".png"] });
  await withProgress({ quiet: flags.json, left: leftOf(flags) }, async ({ progress, signal, closing }) => {
    const kept = keptFeatures(flags.cache);
    const context = { progress, signal, kept };
    const found = await findGenerated(flags, context);
    const dataset = await openBeside(flags.data, found, flags, context);
    checkHeldOut(dataset);
    const engine = await openEngine(flags);
    const opened = await openNetwork(engine, { ...flags, dataset, ...context });
    const network = closing(opened, (one) => one.dispose?.());
    const set = closing(await found.open(engine, dataset), (one) => one.dispose?.());
    const heldOut = partSet({ ...dataset, heldOut: evenly(dataset.heldOut, set.count) }, "held-out");
    const queries = {
      generated: await collect(engine, network, set, context),
      heldOut: await collect(engine, network, heldOut, context),
    };
    const { features: training } = await measureSet(engine, network, partSet(dataset, "train"), context);
    const references: Record<Measure, () => Iterable<Features>> = {
      pixels: () => pixelParts(dataset.train),
      features: () => inParts(training),
    };
    const rows = (of: Queries, measure: Measure) => (measure === "pixels" ? pixelRows(of.images) : of.features);
    const compared: Record<string, Compared> = {};
    for (const measure of measures) {
      progress.update(`looking for the nearest training images by ${measure}`);
      const near = {
        generated: await nearest(engine, rows(queries.generated, measure), references[measure](), { signal }),
        heldOut: await nearest(engine, rows(queries.heldOut, measure), references[measure](), { signal }),
      };
      compared[measure] = comparedOf(near);
      if (measure === flags.pairsBy && flags.pairs !== undefined)
        await writeFileAtomic(
          flags.pairs,
          await pairsPng(queries.generated, near.generated, { dataset, most: flags.pairsCount }),
        );
    }
    kept.forget();
    progress.clear();
    const skipped = [...set.skipped, ...dataset.skipped];
    const resized = { generated: set.resized ?? 0, data: dataset.report?.resized ?? 0 };
    const described = {
      generated: set.name,
      imageSize: found.size,
      resized,
      drawn: found.settings,
      data: dataset.name,
      trainingImages: dataset.train.count,
      features: { kind: network.kind, name: network.name },
    };
    console.log(
      flags.json ? JSON.stringify({ ...described, skipped, ...compared }) : table(described, compared, skipped),
    );
  });
}

function checkHeldOut({ name, heldOut: { count } }: Dataset): void {
  if (count < 20)
    throw new UserError(
      `${name} holds out ${count} image${count === 1 ? "" : "s"}, and distances mean something only beside those of at least 20 that were not trained on; give --held-out, a share or other images`,
    );
}

async function collect(engine: Engine, network: OpenedNetwork, set: ImageSet, context: Context): Promise<Queries> {
  const images: Uint8Array[] = [];
  const collecting: ImageSet = {
    ...set,
    async *images(options) {
      for await (const image of set.images(options)) {
        images.push(Uint8Array.from(image));
        yield image;
      }
    },
  };
  const { features } = await measureSet(engine, network, collecting, context);
  return { features, images };
}

const partImages = 1024;

function* pixelParts(split: Split): Generator<Features> {
  for (let from = 0; from < split.count; from += partImages) {
    const to = Math.min(split.count, from + partImages);
    const bytes = imagesBetween(split, { from, to });
    const each = bytes.length / (to - from);
    yield pixelRows(Array.from({ length: to - from }, (_, i) => bytes.subarray(i * each, (i + 1) * each)));
  }
}

interface Compared {
  generated: Closeness;
  heldOut: Closeness;
  /** Share of generated images that are nearer to a training image than all but 5% of the held-out images. */
  nearerThanHeldOut: number;
}

function comparedOf({ generated, heldOut }: Record<"generated" | "heldOut", Nearest>): Compared {
  const beside = closenessOf(heldOut.distance);
  return {
    generated: closenessOf(generated.distance),
    heldOut: beside,
    nearerThanHeldOut: shareBelow(generated.distance, beside.fifth),
  };
}

/** The nearest pairs, each labelled with its class and its distance. */
function pairsPng(
  { images }: Queries,
  { index, distance }: Nearest,
  { dataset, most }: { dataset: Dataset; most: number },
): Promise<Uint8Array> {
  const { size, channels, train, classes } = dataset;
  const order = Array.from(distance.keys()).sort((a, b) => distance[a] - distance[b]);
  const shown = order.slice(0, most);
  const bytes = size * size * 3;
  const pictures = new Uint8Array(shown.length * 2 * bytes);
  shown.forEach((at, i) => {
    pictures.set(onWhite(images[at], channels), 2 * i * bytes);
    pictures.set(onWhite(train.image(index[at]), channels), (2 * i + 1) * bytes);
  });
  const labels = shown.flatMap((at) => [`at ${figure(distance[at])}`, classes[train.labels[index[at]]]]);
  return gridPng(pictures, { count: labels.length, size, channels: 3, labels, columns: 8 });
}

const figure = (value: number): string => (value === 0 ? "0" : value.toPrecision(3));

function table(
  {
    generated,
    imageSize,
    resized,
    data,
    trainingImages,
    features,
  }: {
    generated: string;
    imageSize: number;
    resized: { generated: number; data: number };
    data: string;
    trainingImages: number;
    features: { name: string };
  },
  compared: Record<string, Compared>,
  skipped: ImageSet["skipped"],
): string {
  const row = (name: string, cells: readonly string[]) =>
    `  ${name.padEnd(34)}${cells.map((cell) => cell.padEnd(20)).join("")}`.trimEnd();
  const sections = Object.entries(compared).flatMap(([measure, { generated, heldOut, nearerThanHeldOut }]) => {
    const both = (of: (one: Closeness) => string) => [of(generated), of(heldOut)];
    return [
      `  by ${measure === "pixels" ? "pixels (root mean squared difference, of 1)" : features.name}`,
      row(
        "  nearest of all",
        both(({ least }) => figure(least)),
      ),
      row(
        "  nearer than this: 5%",
        both(({ fifth }) => figure(fifth)),
      ),
      row(
        "  nearer than this: half",
        both(({ median }) => figure(median)),
      ),
      row(
        "  equal to a training image",
        both(({ copies }) => String(copies)),
      ),
      `    ${(100 * nearerThanHeldOut).toFixed(1)}% of the generated images are nearer than 95% of the held-out ones; 5% are where nothing is learnt by heart`,
    ];
  });
  const [first] = Object.values(compared);
  return [
    `${generated}: distances to the nearest of ${trainingImages} training images of ${data}`,
    ...sizeLines(imageSize, [
      { name: generated, resized: resized.generated },
      { name: data, resized: resized.data },
    ]),
    row("", ["generated", "held-out images"]),
    row("images", [String(first.generated.images), String(first.heldOut.images)]),
    ...sections,
    ...skippedLines(skipped),
  ].join("\n");
}
