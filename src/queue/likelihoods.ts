/** Likelihoods computed by workers. */

import type { Dataset, Split } from "../data/dataset.ts";
import { type ImageLikelihood, imagesTogether, type LikelihoodOptions } from "../evaluate/likelihood.ts";
import type { ModelFolder } from "../files/model.ts";
import { type Executor, severalAtOnce } from "./executor.ts";
import type { JobOf, JobPrecision, ScoredImage } from "./jobs.ts";
import { shipModel } from "./objects.ts";

/** The images to score: part of a data set, as chosen by `likelihoodSplit`. */
export interface ScoredPart {
  dataset: Dataset;
  part: "train" | "held-out";
  split: Split;
}

export type QueueLikelihoodOptions = Pick<
  LikelihoodOptions,
  "inOrder" | "passes" | "conditional" | "seed" | "batch" | "breakdown" | "from" | "signal"
> & { precision?: JobPrecision };

/** The jobs for images `from` and later. Images that share batches are in one job, so no result depends on the jobs. */
export async function likelihoodJobs(
  executor: Executor,
  model: ModelFolder,
  { dataset, part, split }: ScoredPart,
  options: QueueLikelihoodOptions,
): Promise<JobOf<"likelihood">[]> {
  const { inOrder = false, passes = 1, conditional = false, seed = 0, batch = 64, breakdown = false } = options;
  const { from: first = 0, precision, signal } = options;
  const together = imagesTogether(model.config, { inOrder, passes, batch });
  const named = {
    model: await shipModel(executor.store, model, { signal }),
    data: await executor.data(dataset),
    images: split.count,
  };
  const jobs: JobOf<"likelihood">[] = [];
  const how = { inOrder, passes, conditional, seed, batch, breakdown, ...(precision && { precision }) };
  for (let from = first - (first % together); from < split.count; from += together)
    jobs.push({ kind: "likelihood", ...named, part, from, to: Math.min(split.count, from + together), ...how });
  return jobs;
}

/** Yields the images in order, as `likelihoods` does, but without their maps. */
export async function* queueLikelihoods(
  executor: Executor,
  model: ModelFolder,
  asked: ScoredPart,
  options: QueueLikelihoodOptions,
): AsyncGenerator<Omit<ImageLikelihood, "map">> {
  const { from = 0, signal } = options;
  const jobs = await likelihoodJobs(executor, model, asked, options);
  const submit = async (job: JobOf<"likelihood">, { signal }: { signal: AbortSignal }) =>
    executor.submit(job, { area: executor.area(), signal });
  for await (const { scored } of severalAtOnce(jobs, submit, { signal }))
    for (const one of scored)
      if (one.index >= from) yield { ...one, label: asked.split.labels[one.index], breakdown: breakdownOf(one) };
}

const breakdownOf = ({ breakdown }: ScoredImage) =>
  breakdown && {
    likeliest: breakdown.likeliest.map((sums) => Float64Array.from(sums)),
    levels: breakdown.levels.map((sums) => Float64Array.from(sums)),
  };
