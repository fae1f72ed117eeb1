/** How close generated images are to training images, compared with held-out images, which the model has not seen. */

import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { type Dataset, evenly, imagesBetween, type Split } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
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
import { gridPng, onWhite } from "../pictures/grid.ts";
import { type MeasureContext, measureSet, type OpenedNetwork } from "./feature-network.ts";
import { type ImageSet, partSet } from "./image-sets.ts";

/** The spaces that distances are measured in. */
export const closenessMeasures = ["pixels", "features"] as const;
/** The space that distances between images are measured in. */
export type ClosenessMeasure = (typeof closenessMeasures)[number];

/** Images to find the nearest training images of, with their features. */
interface Queries {
  /** Bytes [S, S, C] each. */
  images: Uint8Array[];
  features: Features;
}

/** The options of `measureMemorisation`. */
export interface MemorisationMeasure {
  generated: ImageSet;
  dataset: Dataset;
  network: OpenedNetwork;
  /** Requests a picture of at most this many nearest pairs by this measure. */
  pairs?: { by: ClosenessMeasure; most: number };
}

/** The result of `measureMemorisation`. */
export interface MeasuredMemorisation {
  compared: Record<ClosenessMeasure, Compared>;
  /** The nearest pairs as a PNG, each labelled with its distance and its class. */
  pairs?: Uint8Array;
}

/** The sets of real images that `measureMemorisation` measures, for so many generated images. */
export const memorisationSets = (dataset: Dataset, count: number): { heldOut: ImageSet; train: ImageSet } => ({
  heldOut: partSet({ ...dataset, heldOut: evenly(dataset.heldOut, count) }, "held-out"),
  train: partSet(dataset, "train"),
});

/** Finds the nearest training image of every generated image and, for comparison, of as many held-out images. */
export async function measureMemorisation(
  engine: Engine,
  { generated, dataset, network, pairs }: MemorisationMeasure,
  context: MeasureContext = {},
): Promise<MeasuredMemorisation> {
  const { onProgress, signal } = context;
  const { heldOut, train } = memorisationSets(dataset, generated.count);
  const queries = {
    generated: await collect(engine, network, generated, context),
    heldOut: await collect(engine, network, heldOut, context),
  };
  const { features: training } = await measureSet(engine, network, train, context);
  const references: Record<ClosenessMeasure, () => Iterable<Features>> = {
    pixels: () => pixelParts(dataset.train),
    features: () => inParts(training),
  };
  const rows = (of: Queries, by: ClosenessMeasure) => (by === "pixels" ? pixelRows(of.images) : of.features);
  let picture: Uint8Array | undefined;
  const comparedBy = async (by: ClosenessMeasure): Promise<Compared> => {
    onProgress?.(`finding the nearest training images by ${by}`);
    const near = {
      generated: await nearest(engine, rows(queries.generated, by), references[by](), { signal }),
      heldOut: await nearest(engine, rows(queries.heldOut, by), references[by](), { signal }),
    };
    if (by === pairs?.by) picture = await pairsPng(queries.generated, near.generated, { dataset, most: pairs.most });
    return comparedOf(near);
  };
  const compared = { pixels: await comparedBy("pixels"), features: await comparedBy("features") };
  return { compared, pairs: picture };
}

/** UserError if too few images are held out to compare with. */
export function checkHeldOut({ name, heldOut: { count } }: Dataset): void {
  if (count < 20)
    throw new UserError({
      problem: `${name} holds out ${counted(count, "image")}, but distances are only meaningful compared with those of at least 20 held-out images`,
      hint: { do: "hold out a fraction or other images", setting: "heldOut" },
    });
}

async function collect(
  engine: Engine,
  network: OpenedNetwork,
  set: ImageSet,
  context: MeasureContext,
): Promise<Queries> {
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

/** Distances of generated images to training images, and of held-out images for comparison. */
export interface Compared {
  generated: Closeness;
  heldOut: Closeness;
  /** Fraction of the generated images that are closer to a training image than all but 5% of the held-out images. */
  nearerThanHeldOut: number;
}

function comparedOf({ generated, heldOut }: Record<"generated" | "heldOut", Nearest>): Compared {
  const reference = closenessOf(heldOut.distance);
  return {
    generated: closenessOf(generated.distance),
    heldOut: reference,
    nearerThanHeldOut: shareBelow(generated.distance, reference.fifth),
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

/** A distance with three significant digits. */
export const figure = (value: number): string => (value === 0 ? "0" : value.toPrecision(3));
