/** The network that features come from: FID's Inception-v3, or one that is trained on the data's own classes. */

import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { duration, rateOf } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { type FeatureNetwork, inceptionNetwork, measure, type MeasuredSet } from "../evaluate/features.ts";
import { openOwnFeatures } from "../evaluate/own-features.ts";
import { type FeatureSummary, type FeatureTraining, trainFeatures } from "../evaluate/own-features-training.ts";
import { configName, weightsName } from "../files/model.ts";
import { claim, described } from "../files/ownership.ts";
import { type ImageSet, inColour } from "./image-sets.ts";
import type { KeptFeatures } from "./kept-features.ts";
import { findInception } from "../files/cache.ts";

/** Which feature network to use, and where it is cached. */
export interface NetworkChoice {
  /** `inception`, `own` or a folder; by default Inception where it is there. */
  features?: string;
  cache: string;
  /** What an own network is trained on. */
  dataset?: Dataset;
  /** Is told, as a line, how far the work is. */
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface OpenedNetwork extends FeatureNetwork {
  /** Another one for other weights. */
  id: string;
}

/** Opens a feature network; downloads or trains it if needed. UserError if it cannot be had. */
export async function openNetwork(engine: Engine, choice: NetworkChoice): Promise<OpenedNetwork> {
  const { features, cache, dataset } = choice;
  const inception = findInception(cache);
  if (features === "inception" || (features === undefined && inception !== undefined)) {
    if (inception === undefined)
      throw new UserError({
        subject: { setting: "features" },
        problem: "Inception-v3's weights are not there",
        hint: [
          { do: "get them", command: "download inception" },
          {
            do: "convert the published file with inception as its configuration",
            command: "convert weights-inception-2015-12-05-6726825d.pth",
          },
        ],
      });
    return { ...(await inceptionNetwork(engine, inception)), id: idOf(inception) };
  }
  if (features !== undefined && features !== "own") return own(engine, features);
  if (!dataset)
    throw new UserError({
      subject: { setting: "features" },
      problem: "statistics hold for the features they were taken with",
      hint: [{ do: "give inception", command: "download inception" }, "the folder of a network"],
    });
  return own(engine, await trained(engine, dataset, choice));
}

function idOf(path: string): string {
  const { size, mtimeMs } = statSync(path);
  return `${resolve(path)} ${size} ${mtimeMs}`;
}

async function own(engine: Engine, folder: string): Promise<OpenedNetwork> {
  if (!existsSync(join(folder, configName)))
    throw new UserError({
      subject: { setting: "features" },
      expected: "inception, own or the folder of a feature network",
      got: `${folder}, which holds no network of own features`,
      hint: { do: "train one", command: "evaluate features" },
    });
  return { kind: "own", ...(await openOwnFeatures(engine, folder)), id: idOf(join(folder, weightsName)) };
}

/** The folder of the network that belongs to a data set, trained on its first use; by one process, for which others wait. */
async function trained(
  engine: Engine,
  dataset: Dataset,
  { cache, onProgress, signal }: NetworkChoice,
): Promise<string> {
  const folder = join(cache, `features-${dataset.fingerprint.slice(0, 16)}`);
  while (!existsSync(folder)) {
    const owned = await claim(folder, { signal });
    if ("owner" in owned) {
      onProgress?.(`waiting for the feature network that ${described(owned.owner)} trains for these data`);
      await sleep(1000, undefined, { signal });
      continue;
    }
    try {
      if (!existsSync(folder)) await trainedNetwork(engine, dataset, { folder, onProgress, signal, owned });
    } finally {
      await owned.release();
    }
  }
  return folder;
}

/** How a measure runs: whom it tells how far it is, what stops it, and what keeps the features found so far. */
export interface MeasureContext {
  /** Called with one line of progress. */
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
  kept?: KeptFeatures;
}

/**
 * What a network says of a set, with progress unless a model draws its images, which tells by itself how far it is. What an
 * interrupted measure found is in `kept`.
 */
export async function measureSet(
  engine: Engine,
  network: OpenedNetwork,
  set: ImageSet,
  { onProgress, signal, kept }: MeasureContext = {},
): Promise<MeasuredSet> {
  const started = performance.now();
  const onImages = (done: number) => {
    const rate = (done / (performance.now() - started)) * 1000;
    onProgress?.(
      `features of ${set.name}: ${done} of ${set.count}  ${rateOf(rate)}  ${duration((set.count - done) / rate)} left`,
    );
  };
  const remembering = await kept?.open(network, { id: network.id, name: set.name, signal });
  try {
    return await measure(engine, { network: remembering ?? network, name: set.name }, inColour(set, { signal }), {
      size: set.size,
      onImages: set.dispose ? undefined : onImages,
      signal,
    });
  } finally {
    await remembering?.close();
  }
}

/** Trains a network of a data set's own classes into a new folder, telling how it goes. */
export async function trainedNetwork(
  engine: Engine,
  dataset: Dataset,
  { onProgress, ...training }: FeatureTraining & Pick<MeasureContext, "onProgress">,
): Promise<FeatureSummary> {
  const records = trainFeatures(engine, dataset, training);
  const started = performance.now();
  for (;;) {
    const { done, value } = await records.next();
    if (done) return value;
    const { step, steps, loss, accuracy } = value;
    const left = ((performance.now() - started) / 1000 / step) * (steps - step);
    onProgress?.(
      `training a feature network for these data: step ${step} of ${steps}, ${duration(left)} left  loss ${loss.toFixed(3)}  ${(100 * accuracy).toFixed(0)}% right`,
    );
  }
}
