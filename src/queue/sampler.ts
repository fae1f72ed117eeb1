/** A sampler whose batches are drawn by workers. */

import type { ModelConfig } from "../config/model.ts";
import type { ModelFolder } from "../files/model.ts";
import { checkKnown, knownPart, startingImages } from "../sample/known.ts";
import type { Frame, SampleOptions, Sampler } from "../sample/sampler.ts";
import { settingsOf } from "../sample/settings.ts";
import { pickSampling } from "../config/sampling.ts";
import { type Executor, severalAtOnce } from "./executor.ts";
import type { JobOf, JobPrecision, ModelName } from "./jobs.ts";
import { shipModel } from "./objects.ts";

/**
 * A sampler that draws the same images as every other sampler. It yields a frame for each finished batch, whose squares
 * are whole images. `most` is the largest number of images in a job. Disposing of it leaves the executor open.
 */
export function queueSampler(
  executor: Executor,
  model: ModelFolder,
  { most, precision }: { most: number; precision?: JobPrecision },
): Sampler {
  const { config } = model;
  const { store } = executor;
  let name: Promise<ModelName> | undefined;

  async function drawn(options: SampleOptions, range: Range): Promise<Uint8Array> {
    const { known, signal, signals } = options;
    const area = executor.area();
    const part = known && knownPart(config, known, range);
    try {
      const asked = { ...options, precision };
      const job = sampleJob(config, await (name ??= shipModel(store, model)), asked, range);
      if (part) job.known = { images: await store.put(area, part.images), mask: await store.put(area, part.mask) };
      const { images } = await executor.submit(job, { area, signal: wanted(signal, signals?.slice(...range)) });
      return await store.get(area, images);
    } finally {
      await store.clear(area);
    }
  }

  return {
    config,
    async *sample(options): AsyncGenerator<Frame, Uint8Array> {
      const { labels, known, batch = 16, signal } = options;
      if (options.draws || options.watch) throw new Error("queueSampler: draws and watchers cannot be sent to workers");
      if (known) checkKnown(config, known, labels.length);
      const { imageSize: side, channels } = config;
      const images = startingImages(config, { count: labels.length, known });
      const ranges = rangesOf(labels.length, Math.min(batch, most));
      let step = 0;
      for await (const part of severalAtOnce(ranges, (range, { signal }) => drawn({ ...options, signal }, range), {
        signal,
      })) {
        const [from, to] = ranges[step++];
        images.set(part, from * side * side * channels);
        const image = Int32Array.from({ length: to - from }, (_, i) => from + i);
        const corner = new Int32Array(image.length);
        const finished = { image, x: corner, y: corner, side };
        yield { level: 0, step, steps: ranges.length, finished, done: to / labels.length, ready: to, images };
      }
      return images;
    },
    dispose: async () => {},
  };
}

type Range = [from: number, to: number];

/** The first image of each job, and the image after its last. */
export const rangesOf = (count: number, size: number): Range[] =>
  Array.from({ length: Math.ceil(count / size) }, (_, i) => [i * size, Math.min(count, (i + 1) * size)]);

/** The job that draws a range of a list of images. */
export function sampleJob(
  config: ModelConfig,
  model: ModelName,
  { labels, indices, seed = 0, precision, ...options }: SampleOptions & { precision?: JobPrecision },
  [from, to]: Range,
): JobOf<"sample"> {
  const own = labels.slice(from, to);
  return {
    kind: "sample",
    model,
    labels: own,
    indices: indices?.slice(from, to) ?? own.map((_, i) => from + i),
    seed: typeof seed === "object" ? seed.slice(from, to) : seed,
    settings: settingsOf(pickSampling(options), config),
    ...(precision && { precision }),
  };
}

/** Aborted with the whole request, or when all its images are cancelled. */
function wanted(signal: AbortSignal | undefined, signals: readonly AbortSignal[] | undefined): AbortSignal | undefined {
  if (!signals || signals.length === 0) return signal;
  const unwanted = new AbortController();
  const look = () => signals.every(({ aborted }) => aborted) && unwanted.abort(signals[0].reason);
  for (const one of signals) one.addEventListener("abort", look, { once: true });
  look();
  return AbortSignal.any([unwanted.signal, ...(signal ? [signal] : [])]);
}
