/** All metrics of a set of generated images against a reference, from the features of both. */

import { UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { MeasuredSet } from "./features.ts";
import { frechetDistance, inceptionScore, kernelDistance, precisionAndRecall, type MeanAndSpread } from "./metrics.ts";
import type { Statistics } from "./statistics.ts";

/** A reference with only statistics allows only the Fréchet distance. */
export type Reference = MeasuredSet | { statistics: Statistics };

/** The options of `qualityOf`. */
export interface QualityOptions {
  /** For KID: the number of subsets, and of images of each set in a subset (by default 1000, or all of the smaller set). */
  subsets?: number;
  subsetSize?: number;
  /** Parts of the Inception Score. */
  splits?: number;
  /** For precision and recall. */
  neighbours?: number;
  seed?: number;
  /** Called before each metric with its name. */
  onMetric?: (name: string) => void;
  signal?: AbortSignal;
}

/** Metrics of a set of images against a reference. */
export interface Quality {
  /** Number of images in the generated set. */
  images: number;
  /** FID if the features are Inception's. */
  frechetDistance: number;
  /** KID if the features are Inception's. */
  kernelDistance?: MeanAndSpread & { subsets: number; subsetSize: number };
  /** The Inception Score if the logits are Inception's. */
  score: MeanAndSpread & { splits: number };
  precision?: number;
  recall?: number;
}

const usualSubset = 1000;

/** The default settings. */
export const usualQuality = { subsets: 100, splits: 10, neighbours: 3 };

/**
 * Fréchet distance, kernel distance, score of the classes, precision and recall. UserError if there are too few images for a
 * metric.
 */
export async function qualityOf(
  engine: Engine,
  { generated, reference }: { generated: MeasuredSet; reference: Reference },
  options: QualityOptions = {},
): Promise<Quality> {
  const { subsets, subsetSize, splits, neighbours, seed = 0, onMetric, signal } = { ...usualQuality, ...options };
  const [images] = generated.features.shape;
  onMetric?.("score of the classes");
  const score = { ...inceptionScore(generated.logits, { splits }), splits };
  const quality = { images, score };
  const step = (name: string) => {
    onMetric?.(name);
    signal?.throwIfAborted();
  };
  const distance = () => {
    step("Fréchet distance");
    return frechetDistance(engine, { generated: generated.statistics, reference: reference.statistics });
  };
  if (!("features" in reference)) return { ...quality, frechetDistance: await distance() };
  const sets = { generated: generated.features, reference: reference.features };
  const smaller = Math.min(images, reference.features.shape[0]);
  const size = subsetSize ?? Math.min(usualSubset, smaller);
  if (smaller <= neighbours)
    throw new UserError({
      subject: `precision and recall with ${neighbours} neighbours`,
      expected: `at least ${neighbours + 1} images in each set`,
      got: String(smaller),
    });
  // Cheap metrics first, so that errors in the sets are found early.
  step("kernel distance");
  const kernel = await kernelDistance(engine, sets, { subsets, size, seed, signal });
  step("precision and recall");
  const { precision, recall } = await precisionAndRecall(engine, sets, { neighbours, signal });
  return {
    ...quality,
    frechetDistance: await distance(),
    kernelDistance: { ...kernel, subsets, subsetSize: size },
    precision,
    recall,
  };
}
