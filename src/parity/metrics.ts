/** Compares metrics and statistics of given features with the results of torch-fidelity and NumPy. */

import { join } from "node:path";
import { z } from "zod";
import { explain } from "../config/model.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { type Features, rowsOf } from "../evaluate/metrics-products.ts";
import {
  frechetDistance,
  inceptionScore,
  kernelDistanceOfAll,
  precisionAndRecall,
  type Sets,
} from "../evaluate/metrics.ts";
import { gatherStatistics, readStatistics, type Statistics } from "../evaluate/statistics.ts";
import { readJson } from "../files/model.ts";
import { readSafetensorsHeader, readTensor } from "../files/safetensors.ts";
import { type Comparison, largest, relative, relativeToLargest, within } from "./compare.ts";

/**
 * The inputs of the metrics, by name: `features_1` (generated) and `features_2` (reference), each [N, D], and `logits`.
 */
export interface MetricInputs {
  has: (name: string) => boolean;
  read: (name: string) => Features;
  sets: () => Sets;
}

/** Opens the folder's metrics.safetensors; reading a missing tensor throws a UserError. */
export function readInputs(folder: string): MetricInputs {
  const file = readSafetensorsHeader(join(folder, "metrics.safetensors"));
  const read = (name: string) => readTensor(file, name) as Features;
  return {
    has: (name) => file.tensors.has(name),
    read,
    sets: () => ({ generated: read("features_1"), reference: read("features_2") }),
  };
}

/** Reads the recorded metrics by name. */
export function readMetrics(folder: string): Record<string, number> {
  const path = join(folder, "metrics.json");
  const parsed = z.record(z.string(), z.number()).safeParse(readJson(path));
  if (!parsed.success) throw new UserError(`${path}: ${explain(parsed.error.issues[0])}`);
  return parsed.data;
}

/** Computes the statistics of a whole set. */
export async function statisticsOf(engine: Engine, features: Features): Promise<Statistics> {
  const gathering = gatherStatistics(engine);
  await gathering.add(features);
  return gathering.statistics();
}

type Measure = (engine: Engine, given: MetricInputs, count: number) => Promise<number>;

const distance = async (engine: Engine, { generated, reference }: Sets) =>
  frechetDistance(engine, {
    generated: await statisticsOf(engine, generated),
    reference: await statisticsOf(engine, reference),
  });

/** Metrics by their recorded names, in which N stands for a number. */
const measures: Record<string, Measure> = {
  frechet_inception_distance: (engine, { sets }) => distance(engine, sets()),
  fid_of_N_rows_rank_deficient: (engine, { sets }, rows) =>
    distance(engine, { ...sets(), generated: rowsOf(sets().generated, 0, rows) }),
  inception_score_mean_N_splits_unshuffled: async (_, { read }, splits) =>
    inceptionScore(read("logits"), { splits }).mean,
  inception_score_std_N_splits_unshuffled: async (_, { read }, splits) =>
    inceptionScore(read("logits"), { splits }).spread,
  // torch-fidelity uses equally many rows of both sets.
  kernel_inception_distance_all_rows_poly3(engine, { sets }) {
    const { generated, reference } = sets();
    const rows = Math.min(generated.shape[0], reference.shape[0]);
    return kernelDistanceOfAll(engine, {
      generated: rowsOf(generated, 0, rows),
      reference: rowsOf(reference, 0, rows),
    });
  },
  precision: async (engine, { sets }) => (await precisionAndRecall(engine, sets())).precision,
  recall: async (engine, { sets }) => (await precisionAndRecall(engine, sets())).recall,
  f_score: async (engine, { sets }) => (await precisionAndRecall(engine, sets())).fScore,
};

/** Compares every metric in metrics.json. */
export async function compareMetrics(engine: Engine, folder: string): Promise<Comparison[]> {
  const given = readInputs(folder);
  const results: Comparison[] = [];
  for (const [key, value] of Object.entries(readMetrics(folder))) {
    const [count = ""] = /(?<=_)\d+(?=_)/.exec(key) ?? [];
    const name = count ? key.replace(count, "N") : key;
    if (!Object.hasOwn(measures, name))
      throw new UserError(
        `${join(folder, "metrics.json")}: there is no metric "${key}"${didYouMean(name, Object.keys(measures))}`,
      );
    // Eigenvalues that are zero except for rounding make the last digits of the recorded value uncertain.
    const tolerance = name.endsWith("rank_deficient") ? 1e-3 : 1e-6;
    results.push(relative(key, await measures[name](engine, given, Number(count)), value, tolerance));
  }
  return results;
}

/**
 * Compares the mean `mu_N` and the covariance `sigma_N` of `features_N`, for those sets that metrics.safetensors has.
 */
export async function compareMoments(engine: Engine, folder: string): Promise<Comparison[]> {
  const { has, read } = readInputs(folder);
  const results: Comparison[] = [];
  for (const set of [1, 2])
    if (has(`mu_${set}`) && has(`sigma_${set}`)) {
      const recorded = { mu: read(`mu_${set}`).data, sigma: read(`sigma_${set}`).data };
      const names = [`mu_${set}`, `sigma_${set}`] as const;
      results.push(...(await statistics(engine, { features: read(`features_${set}`), recorded, names })));
    }
  return results;
}

/** Compares the mean and covariance of `features_2` with those in an archive. */
export async function compareStatistics(engine: Engine, folder: string): Promise<Comparison[]> {
  const features = readInputs(folder).read("features_2");
  const recorded = await readStatistics(join(folder, "stats.npz"));
  return statistics(engine, { features, recorded, names: ["stats.npz mu", "stats.npz sigma"] });
}

async function statistics(
  engine: Engine,
  {
    features,
    recorded,
    names: [mean, covariance],
  }: {
    features: Features;
    recorded: Record<keyof Statistics, ArrayLike<number>>;
    names: readonly [mean: string, covariance: string];
  },
): Promise<Comparison[]> {
  const { mu, sigma } = await statisticsOf(engine, features);
  // NumPy averages float32 features in float32. Its rounding errors scale with the features, which can be much larger
  // than the mean.
  const scale = Math.max(largest(recorded.mu), Math.sqrt(largest(recorded.sigma)));
  const scaled = (values: ArrayLike<number>) => Float64Array.from(values, (value) => value / scale);
  return [
    within(mean, scaled(mu), scaled(recorded.mu), 1e-6),
    relativeToLargest(covariance, sigma, recorded.sigma, 1e-6),
  ];
}
