/** Compares generated images with real ones by their features: FID, KID and other metrics. */

import { existsSync } from "node:fs";
import { extname } from "node:path";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import { findSource } from "../data/formats.ts";
import { openNpz } from "../data/npz.ts";
import type { Engine } from "../engine/engine.ts";
import type { FeatureNetwork } from "../evaluate/features.ts";
import { type Quality, qualityOf, type QualityOptions, type Reference, usualQuality } from "../evaluate/quality.ts";
import { type Statistics, writeStatistics } from "../evaluate/statistics.ts";
import { type MeasureContext, measureSet, type OpenedNetwork } from "./feature-network.ts";
import { type DatasetPart, type ImageSet, partSet } from "./image-sets.ts";

/** The reference for generated images: a part of a data set, or saved statistics. */
export type QualityReference = { dataset: Dataset; part: DatasetPart } | { statistics: Statistics };

/** The options of `measureQuality`. */
export interface QualityMeasure extends Pick<QualityOptions, "subsets" | "subsetSize" | "splits" | "neighbours"> {
  generated: ImageSet;
  reference: QualityReference;
  network: OpenedNetwork;
  /** An .npz file to write the reference's statistics to. */
  saveStatistics?: string;
}

/** The result of `measureQuality`. */
export interface MeasuredQuality {
  generated: Quality;
  /** The same for the held-out images, if the reference is the training images and enough are held out. */
  heldOut?: Quality;
  /** The reference, if it is a set of images. */
  reference?: ImageSet;
}

/** The sets of real images that `measureQuality` measures: the reference, and held-out images if there are enough of them. */
export function qualitySets({
  reference: given,
  ...options
}: Pick<QualityMeasure, "reference" | "subsetSize" | "splits" | "neighbours">): {
  reference?: ImageSet;
  heldOut?: ImageSet;
} {
  if (!("dataset" in given)) return {};
  const reference = partSet(given.dataset, given.part);
  const { splits, neighbours, subsetSize = 2 } = { ...usualQuality, ...options };
  const heldOut = given.part === "train" ? partSet(given.dataset, "held-out") : undefined;
  const enough = heldOut && heldOut.count >= Math.max(splits, neighbours + 1, subsetSize);
  return { reference, heldOut: enough ? heldOut : undefined };
}

/** Measures a set against a reference. UserError if the network's features do not fit the reference's. */
export async function measureQuality(
  engine: Engine,
  { generated: set, reference: given, network, saveStatistics, ...options }: QualityMeasure,
  context: MeasureContext = {},
): Promise<MeasuredQuality> {
  checkNetwork(network, { imageSize: set.size, reference: given });
  const generated = await measureSet(engine, network, set, context);
  const { reference: real, heldOut: others } = qualitySets({ reference: given, ...options });
  const reference: Reference = "dataset" in given ? await measureSet(engine, network, real!, context) : given;
  if (saveStatistics !== undefined) await writeStatistics(saveStatistics, reference.statistics);
  const { signal, onProgress } = context;
  const computing = { ...options, signal, onMetric: (name: string) => onProgress?.(`computing: ${name}`) };
  const found = await qualityOf(engine, { generated, reference }, computing);
  if (!others) return { generated: found, reference: real };
  const heldOut = await measureSet(engine, network, others, context);
  return {
    generated: found,
    heldOut: await qualityOf(engine, { generated: heldOut, reference }, computing),
    reference: real,
  };
}

/** The part of a source to compare with by default: all of it, or the training images if it comes with held-out ones. */
export async function usualPart(source: string): Promise<DatasetPart> {
  if (source === "emoji") return "train";
  const { heldOutName } = await (await findSource(source, {})).open();
  return heldOutName === undefined ? "all" : "train";
}

/** Whether a path is an .npz with a mean and a covariance instead of images. */
export async function isStatistics(path: string): Promise<boolean> {
  if (extname(path) !== ".npz" || !existsSync(path)) return false;
  const npz = await openNpz(path);
  try {
    return npz.names.includes("mu") && npz.names.includes("sigma") && !npz.names.includes("arr_0");
  } finally {
    npz.close();
  }
}

/** UserError if a network needs images of another size, or a reference's statistics have another number of features. */
export function checkNetwork(
  { kind, width, imageSize }: FeatureNetwork,
  given: { imageSize: number; reference: QualityReference },
): void {
  if (imageSize !== undefined && imageSize !== given.imageSize)
    throw new UserError({
      subject: { setting: "features" },
      problem: `the network was trained on images of ${imageSize}x${imageSize} pixels, but the generated images are ${given.imageSize}x${given.imageSize}`,
      hint: {
        do: "train one for this size",
        command: `evaluate features`,
        setting: "imageSize",
        value: String(given.imageSize),
      },
    });
  const statistics = "statistics" in given.reference ? given.reference.statistics : undefined;
  if (statistics && statistics.mu.length !== width)
    throw new UserError({
      subject: { setting: "reference" },
      problem: `the statistics have ${statistics.mu.length} dimensions, but the features of ${kind === "inception" ? "Inception-v3" : "the network"} have ${width}`,
      hint: "use statistics computed with the same features",
    });
}
