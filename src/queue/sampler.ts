/** A sampler whose batches are drawn by workers. */

import type { ModelConfig } from "../config/model.ts";
import type { ModelFolder } from "../files/model.ts";
import { checkKnown, knownPart, startingImages } from "../sample/known.ts";
import type { Frame, SampleOptions, Sampler } from "../sample/sampler.ts";
import { settingsOf } from "../sample/settings.ts";
import { pickSampling } from "../config/sampling.ts";
import { type Executor, severalAtOnce } from "./executor.ts";
import type { JobOf, JobPrecision, ModelName } from "./jobs.ts";
import { modelShipper } from "./objects.ts";

/** How jobs draw. */
interface JobOptions {
  /** The largest number of images in a job. */
  most: number;
  precision?: JobPrecision;
  /** Names the model, for several that draw with it. */
  ship?: (model: ModelFolder) => Promise<ModelName>;
}

/** Images from number `from` on of those that were asked for, bytes [n, S, S, C]. */
export interface DrawnPart {
  from: number;
  images: Uint8Array;
}

/** Draws images by jobs. Yields those of one job after another, in order, and holds only those of jobs ahead. */
export async function* drawnByJobs(
  executor: Executor,
  model: ModelFolder,
  options: SampleOptions,
  { most, precision, ship = modelShipper(executor.store) }: JobOptions,
): AsyncGenerator<DrawnPart> {
  const { config } = model;
  const { store } = executor;
  const { labels, known, batch = 16, signal, signals } = options;
  if (options.draws || options.watch) throw new Error("queueSampler: draws and watchers cannot be sent to workers");
  if (known) checkKnown(config, known, labels.length);

  async function drawn(range: Range, { signal }: { signal: AbortSignal }): Promise<DrawnPart> {
    const area = executor.area();
    const part = known && knownPart(config, known, range);
    try {
      const job = sampleJob(config, await ship(model), { ...options, precision }, range);
      if (part) job.known = { images: await store.put(area, part.images), mask: await store.put(area, part.mask) };
      const { images } = await executor.submit(job, { area, signal: wanted(signal, signals?.slice(...range)) });
      return { from: range[0], images: await store.get(area, images) };
    } finally {
      await store.clear(area);
    }
  }

  yield* severalAtOnce(rangesOf(labels.length, Math.min(batch, most)), drawn, { signal });
}

/**
 * A sampler that draws the same images as every other sampler. It yields a frame for each finished batch, whose squares
 * are whole images. Disposing of it leaves the executor open.
 */
export function queueSampler(executor: Executor, model: ModelFolder, jobs: JobOptions): Sampler {
  const { config } = model;
  const how = { ship: modelShipper(executor.store), ...jobs };
  return {
    config,
    async *sample(options): AsyncGenerator<Frame, Uint8Array> {
      const { labels, known, batch = 16 } = options;
      const { imageSize: side, channels } = config;
      const images = startingImages(config, { count: labels.length, known });
      const steps = rangesOf(labels.length, Math.min(batch, how.most)).length;
      let step = 0;
      for await (const { from, images: part } of drawnByJobs(executor, model, options, how)) {
        images.set(part, from * side * side * channels);
        const image = Int32Array.from({ length: part.length / (side * side * channels) }, (_, i) => from + i);
        const corner = new Int32Array(image.length);
        const finished = { image, x: corner, y: corner, side };
        const ready = from + image.length;
        yield { level: 0, step: ++step, steps, finished, done: ready / labels.length, ready, images };
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
