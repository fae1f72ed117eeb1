/** How many batches are drawn at once and how many images are in each, by the memory that there is. */

import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { samplingBytes, samplingWithin } from "../sample/memory.ts";
import { settingsOf, type SamplingSettings } from "../sample/settings.ts";
import type { ServedModel } from "./models.ts";

export interface Capacity {
  /** Batches at once, each in a worker thread of its own. */
  lanes: number;
  /** Processor threads of each. */
  threads: number;
  /** The most images side by side in one batch of these settings; a UserError where there is no room for one. */
  batchOf(model: ServedModel, settings: SamplingSettings): number;
}

interface Room {
  threads: number;
  /** Bytes for all models together. */
  memory: number;
  /** Images side by side, where memory allows. */
  batch: number;
}

/** Counting a model's graphs takes milliseconds, so results are kept; clients choose the settings, so not for ever. */
const keptMost = 256;

export function capacity(models: readonly ServedModel[], { threads, memory, batch }: Room): Capacity {
  const share = memory / models.length;
  const sizeOf = ({ folder, config: { sampling } }: ServedModel, settings: Partial<SamplingSettings> = {}) => ({
    guided: (settings.guidance ?? sampling.guidance) !== 1,
    weightBytes: [...folder.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0),
  });
  let lanes = threads;
  for (const model of models) {
    const { iterations } = settingsOf({}, model.config);
    const wanted = { ...sizeOf(model), iterations };
    const fits = () => samplingBytes(model.config, { ...wanted, batch: lanes, lanes }) <= share;
    while (lanes > 1 && !fits()) lanes--;
    if (!fits()) samplingWithin(model.config, { ...wanted, batch: 1, lanes: 1 }, share); // says what it takes
  }
  const known = new Map<string, number>();
  const count = (model: ServedModel, settings: SamplingSettings): number => {
    const bytes = (images: number) =>
      samplingBytes(model.config, {
        ...sizeOf(model, settings),
        iterations: settings.iterations,
        batch: images * lanes,
        lanes,
      });
    let most = batch;
    while (most > 1 && bytes(most) > share) most = Math.ceil(most / 2);
    if (bytes(most) > share)
      throw new UserError(
        `iterations: so few take about ${byteCount(bytes(1))} of memory, and the server has ${byteCount(share)} for this model; ask for more iterations`,
      );
    return most;
  };
  return {
    lanes,
    threads: Math.floor(threads / lanes),
    batchOf(model, settings) {
      const key = `${model.name} ${settings.guidance !== 1} ${settings.iterations.join()}`;
      const before = known.get(key);
      if (before !== undefined) return before;
      const found = count(model, settings);
      if (known.size >= keptMost) known.delete(known.keys().next().value!);
      known.set(key, found);
      return found;
    },
  };
}
