/** The network that computes features: FID's Inception-v3, or one trained on the data's own classes. */

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
  /** `inception`, `own` or a folder; by default Inception if it has been downloaded, else `own`. */
  features?: string;
  cache: string;
  /** The data an own network is trained on. */
  dataset?: Dataset;
  /** Called with one line of progress. */
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface OpenedNetwork extends FeatureNetwork {
  /** Changes with the weights. */
  id: string;
  /** The file of Inception's weights, or the folder of an own network. */
  path: string;
  /** The classes of an own network's logits. */
  classes?: readonly string[];
}

/** Opens a feature network; downloads or trains it if needed. UserError if there is none. */
export async function openNetwork(engine: Engine, choice: NetworkChoice): Promise<OpenedNetwork> {
  const { features, cache, dataset } = choice;
  const inception = findInception(cache);
  if (features === "inception" || (features === undefined && inception !== undefined)) {
    if (inception === undefined)
      throw new UserError({
        subject: { setting: "features" },
        problem: "Inception-v3's weights have not been downloaded",
        hint: [
          { do: "download them", command: "download inception" },
          {
            do: "convert the published file with inception as its configuration",
            command: "convert weights-inception-2015-12-05-6726825d.pth",
          },
        ],
      });
    return { ...(await inceptionNetwork(engine, inception)), id: idOf(inception), path: inception };
  }
  if (features !== undefined && features !== "own") return own(engine, features);
  if (!dataset)
    throw new UserError({
      subject: { setting: "features" },
      problem:
        "statistics are only comparable when computed with the same features, so the feature network must be named",
      hint: [{ do: "choose inception", command: "download inception" }, "name the folder of a network"],
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
      got: `${folder}, which holds no feature network`,
      hint: { do: "train one", command: "evaluate features" },
    });
  return { kind: "own", ...(await openOwnFeatures(engine, folder)), id: idOf(join(folder, weightsName)), path: folder };
}

/** The folder of a data set's own network. The first use trains it, in one process; others wait for that. */
async function trained(
  engine: Engine,
  dataset: Dataset,
  { cache, onProgress, signal }: NetworkChoice,
): Promise<string> {
  const folder = join(cache, `features-${dataset.fingerprint.slice(0, 16)}`);
  while (!existsSync(folder)) {
    const owned = await claim(folder, { signal });
    if ("owner" in owned) {
      onProgress?.(`waiting for ${described(owned.owner)} to train the feature network for these data`);
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

/** Progress, cancellation and cached features of a measure. */
export interface MeasureContext {
  /** Called with one line of progress. */
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
  kept?: KeptFeatures;
}

/**
 * Runs a network over a set of images. Reports progress, unless a model draws the images and so reports its own. `kept` holds the
 * features of an interrupted measure.
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

/** Trains a feature network on a data set's classes and writes it to a new folder, with progress. */
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
