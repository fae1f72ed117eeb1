/** Measures how close a run's samples are to its training images: the kernel distance (KID), every `kidSteps` steps. */

import type { TrainingConfig } from "../config/training.ts";
import { type Dataset, evenly } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { kernelDistance, type MeanAndSpread } from "../evaluate/metrics.ts";
import { readModelFolder } from "../files/model.ts";
import { measureSet, openNetwork } from "../measures/feature-network.ts";
import { drawnSet, labelsLike } from "../measures/drawn-set.ts";
import { partSet } from "../measures/image-sets.ts";
import { settingsOf } from "../sample/settings.ts";

/** A measurement of samples during training, as the log keeps it. */
export interface QualityRecord {
  kind: "quality";
  step: number;
  /** KID with Inception features; the same kind of distance with features of a network trained on the data. */
  kernelDistance: MeanAndSpread;
  images: number;
  features: { kind: "inception" | "own"; name: string };
}

/** The name of a record's measure. KID is defined only for Inception features. */
export const kernelName = ({ features: { kind } }: QualityRecord): string =>
  kind === "inception" ? "KID" : "own kernel distance";

export interface OnlineQuality {
  /** Measures samples from a model folder; image i has the same seed and class every time. Returns undefined if the signal stops it. */
  measure(folder: string, step: number): Promise<QualityRecord | undefined>;
  close(): Promise<void>;
}

interface OnlineOptions {
  dataset: Dataset;
  training: TrainingConfig;
  /** As for `evaluate quality`: `inception`, `own` or a folder. */
  features?: string;
  cache: string;
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
}

/** At most this many training images, evenly spaced, are compared with the samples. */
const mostCompared = 5000;
const subsets = 100;

/** Opens the network, training it first if necessary, and computes the features of the training images. */
export async function openOnlineQuality(engine: Engine, options: OnlineOptions): Promise<OnlineQuality> {
  const { dataset, training, onProgress, signal } = options;
  const network = await openNetwork(engine, options);
  const { kind, name } = network;
  const real = partSet({ ...dataset, train: evenly(dataset.train, mostCompared) }, "train");
  const { features: reference } = await measureSet(engine, network, real, options);
  return {
    async measure(folder, step) {
      const model = readModelFolder(folder);
      const count = training.kidImages;
      const set = await drawnSet(engine, model, labelsLike(model.config.classes, dataset), {
        ...settingsOf({}, model.config),
        count,
        seed: 0,
        batch: 32,
        threads: training.threads,
        signal,
        onProgress: (done) => onProgress?.(`generating images to measure: ${Math.floor(done)} of ${count}`),
      });
      try {
        const { features: generated } = await measureSet(engine, network, set, options);
        const size = Math.min(1000, count, reference.shape[0]);
        const distance = await kernelDistance(engine, { generated, reference }, { subsets, size, signal });
        return { kind: "quality", step, kernelDistance: distance, images: count, features: { kind, name } };
      } catch (error) {
        if (!signal?.aborted) throw error;
        return undefined;
      } finally {
        await set.dispose?.();
      }
    },
    close: () => network.dispose(),
  };
}
