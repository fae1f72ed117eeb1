/** Computes from the available memory how many batches are drawn concurrently and how many images each may hold. */

import { type DrawForm, drawNames } from "../config/sampling.ts";
import { UserError } from "../core/errors.ts";
import { samplingBytes, samplingWithin, type SettingsSize, type SizingSettings, sizeOf } from "../sample/memory.ts";
import { settingsOf } from "../sample/settings.ts";
import { counting, imagesWithin, type LaneShare } from "./counting.ts";
import type { ServedModel } from "./models.ts";

export interface Capacity {
  /** Concurrent batches, each in its own worker thread. */
  lanes: number;
  /** CPU threads per lane. */
  threads: number;
  /** Returns the largest batch for these settings. Throws a `UserError` if not even one image fits. */
  batchOf(model: ServedModel, settings: SizingSettings): Promise<number>;
  dispose(): Promise<void>;
}

interface CapacityOptions {
  threads: number;
  /** Bytes for all models together. */
  memory: number;
  /** The largest batch, if memory allows. */
  batch: number;
}

/** Batch sizes for other settings are cached. Clients choose those settings, so the cache is bounded. */
const keptMost = 256;

const weightBytes = ({ folder }: ServedModel): number =>
  [...folder.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);

/** As many lanes as fit in memory for every model with its default settings, at most one per thread. */
function lanesWithin(models: readonly ServedModel[], { threads, share }: { threads: number; share: number }): number {
  return models.reduce((most, model) => {
    const { config } = model;
    const size = { ...sizeOf(config, settingsOf({}, config)), weightBytes: weightBytes(model) };
    const fits = (lanes: number) => samplingBytes(config, { ...size, batch: lanes, lanes }) <= share;
    let lanes = most;
    while (lanes > 1 && !fits(lanes)) lanes--;
    if (!fits(lanes)) samplingWithin(config, { ...size, batch: 1, lanes: 1 }, share); // throws an error that says how much is needed
    return lanes;
  }, threads);
}

export function capacity(models: readonly ServedModel[], { threads, memory, batch }: CapacityOptions): Capacity {
  const share = memory / models.length;
  const lanes = lanesWithin(models, { threads, share });
  const shared: LaneShare = { lanes, bytes: share, batch };
  const countable = models.map((model) => ({ config: model.config, weightBytes: weightBytes(model) }));
  // Counting takes longer than a request may block the event loop, so a bound for most settings is computed here.
  const bounds = models.map((model, i) =>
    boundsOf(model, { batch, most: (settings) => imagesWithin(countable[i], settings, shared) }),
  );
  const thread = counting({ models: countable, share: shared });
  const known = new Map<string, Promise<number>>();
  return {
    lanes,
    threads: Math.floor(threads / lanes),
    async batchOf(model, settings) {
      const place = models.indexOf(model);
      const size = sizeOf(model.config, settings);
      const bound = bounds[place].find((one) => isWithin(size, one));
      if (bound) return bound.images;
      const key = JSON.stringify([place, size]);
      const before = known.get(key);
      if (before !== undefined) return before;
      const found = thread.images(place, size);
      if (known.size >= keptMost) known.delete(known.keys().next().value!);
      known.set(key, found);
      return found;
    },
    dispose: () => thread.dispose(),
  };
}

/** Settings whose largest batch has been computed. */
interface Bound extends SettingsSize {
  images: number;
}

/** Fewer iterations need more memory per step, and so do guidance and each additional input of the drawing networks. */
const isWithin = ({ guided, forms, iterations }: SettingsSize, bound: Bound): boolean =>
  (bound.guided || !guided) &&
  bound.iterations.every((least, i) => iterations[i] >= least) &&
  forms.every((form, place) => Object.keys(form).every((name) => name in bound.forms[place]));

/** One bound for all settings if the full batch always fits; otherwise a bound for the model's defaults or more iterations. */
function boundsOf(
  { config }: ServedModel,
  { batch, most }: { batch: number; most: (settings: SettingsSize) => number },
): Bound[] {
  const own = sizeOf(config, settingsOf({}, config));
  const everything: DrawForm = Object.fromEntries(drawNames.map((name) => [name, "channels"]));
  const largest = { guided: true, forms: own.forms.map(() => everything), iterations: own.iterations.map(() => 1) };
  try {
    if (most(largest) === batch) return [{ ...largest, images: batch }];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
  return [{ ...own, images: most(own) }];
}
