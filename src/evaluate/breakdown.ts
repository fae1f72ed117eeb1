/** Likelihoods in detail: calibration of the predictions, and bits by level and by the number of known patches. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import type { Pass } from "./passes.ts";

/** Weighted sums over the predicted values of one or more images. The weights are those of the likelihood. */
export interface Breakdown {
  /** For each channel and each bin of the likeliest byte's probability: sums of weight, probability and correct predictions. */
  likeliest: Float64Array[];
  /** For each level above the pixels and each number of known patches of its square: sums of weight and nats. */
  levels: Float64Array[];
}

/** Values whose likeliest byte has a probability between `from` and `to`. */
export interface Bin {
  from: number;
  to: number;
  /** Fraction of all values. */
  share: number;
  /** Mean probability of the likeliest byte, and the fraction of values for which that byte is right. */
  probability: number;
  accuracy: number;
}

export interface Calibration {
  /** The expected calibration error: the mean over all values of |accuracy - probability| of their bin. */
  error: number;
  /** Without empty bins. */
  bins: Bin[];
}

/** Bits of patches for which `known` patches of the same square are known. */
export interface KnownCost {
  known: number;
  /** Fraction of all values. */
  share: number;
  /** Bits per dimension. */
  bits: number;
}

const bins = 20;

/** All sums at zero. */
export const emptyBreakdown = (config: ModelConfig): Breakdown => ({
  likeliest: Array.from({ length: config.channels }, () => new Float64Array(3 * bins)),
  levels: placedLevels(config).map(({ tokens }) => new Float64Array(2 * tokens)),
});

/** Adds the nats of a run and `likeliest` of lossGraph, [K, C] each, to the sums of their images. */
export function addPredictions(
  sumsOf: (image: number) => Breakdown,
  {
    pixels: { image, weight },
    known,
    results,
  }: Pick<Pass, "pixels" | "known"> & { results: Record<"nats" | "probability" | "right", HostTensor> },
): void {
  const [nats, probability, right] = [results.nats, results.probability, results.right].map(
    ({ data }) => data as Float32Array,
  );
  for (let i = 0; i < image.length; i++) {
    const { likeliest, levels } = sumsOf(image[i]);
    const channels = likeliest.length;
    const w = weight[i];
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      const value = i * channels + c;
      const bin = 3 * Math.min(bins - 1, Math.floor(probability[value] * bins));
      likeliest[c][bin] += w;
      likeliest[c][bin + 1] += w * probability[value];
      likeliest[c][bin + 2] += w * right[value];
      sum += nats[value];
    }
    for (let l = 0; l < levels.length; l++) {
      levels[l][2 * known[l][i]] += w * channels;
      levels[l][2 * known[l][i] + 1] += w * sum;
    }
  }
}

/** Adds one image's sums to those of several. */
export function addBreakdown(total: Breakdown, one: Breakdown): void {
  const add = (to: Float64Array, from: Float64Array) => from.forEach((value, i) => (to[i] += value));
  total.likeliest.forEach((to, c) => add(to, one.likeliest[c]));
  total.levels.forEach((to, l) => add(to, one.levels[l]));
}

/** The calibration of all channels together, and of each. */
export function calibrationOf({ likeliest }: Breakdown): Calibration & { channels: Calibration[] } {
  const together = Float64Array.from(likeliest[0], (_, i) => likeliest.reduce((sum, one) => sum + one[i], 0));
  return { ...calibrated(together), channels: likeliest.map(calibrated) };
}

function calibrated(sums: Float64Array): Calibration {
  const found = parts(sums, 3).map(({ at, share, means: [probability, accuracy] }) => ({
    from: at / bins,
    to: (at + 1) / bins,
    share,
    probability,
    accuracy,
  }));
  const error = found.reduce(
    (sum, { share, probability, accuracy }) => sum + share * Math.abs(accuracy - probability),
    0,
  );
  return { error, bins: found };
}

/** For each level above the pixels, bits by the number of known patches. Their mean weighted by `share` is the total bits. */
export const levelsOf = ({ levels }: Breakdown): KnownCost[][] =>
  levels.map((sums) =>
    parts(sums, 2).map(({ at, share, means: [nats] }) => ({ known: at, share, bits: nats / Math.LN2 })),
  );

/** Splits sums into groups of `size` that begin with a weight; for groups of positive weight, the fraction of all weight and the means of the rest. */
function parts(sums: Float64Array, size: number): { at: number; share: number; means: number[] }[] {
  const groups = Array.from({ length: sums.length / size }, (_, at) => sums.subarray(at * size, (at + 1) * size));
  const total = groups.reduce((sum, [weight]) => sum + weight, 0);
  return groups.flatMap(([weight, ...rest], at) =>
    weight > 0 ? [{ at, share: weight / total, means: rest.map((one) => one / weight) }] : [],
  );
}
