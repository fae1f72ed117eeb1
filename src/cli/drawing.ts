/** Shared by the commands that generate images: output checks, and progress during generation. */

import { duration, rateOf } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import { removeStrays } from "../files/atomic.ts";
import type { ModelFolder } from "../files/model.ts";
import { own } from "../files/ownership.ts";
import { gridLayout } from "../pictures/grid.ts";
import type { DrawnImages } from "../runs/drawn-files.ts";
import type { Frame, Sampler } from "../sample/sampler.ts";
import { openSampler } from "../workers/sampler.ts";
import type { DrawingFlags } from "./drawing-options.ts";
import { openEngine, unusual } from "./engine.ts";
import { type Film, filming, type ImageGrid } from "./film.ts";
import { checkFile, checkFolder } from "./outputs.ts";
import { preview } from "./preview.ts";
import { withProgress } from "./running.ts";
import type { SamplingSettings } from "./sampling-options.ts";

/** An image reader's usual limit (sharp's, 16383 squared). */
const readableMost = 268e6;

/** Checks up front that the outputs can be written, before an hour of work goes into them. */
export function checkOutputs({ out, animate, each }: DrawingFlags, grid: ImageGrid & { labels: string[] }): void {
  checkFile(out, { option: "--out", endings: [".png"] });
  if (animate !== undefined) checkFile(animate, { option: "--animate", endings: [".webp", ".gif"] });
  if (each !== undefined) checkFolder(each, { option: "--each" });
  const { width, height } = gridLayout(grid);
  if (width * height > readableMost)
    throw new UserError(
      `--count: a grid of ${grid.count} images would have ${width}x${height} pixels; the limit is ${readableMost / 1e6} million. Generate fewer images at a time, with different seeds`,
    );
}

/** Does the work while holding the lock on the --each folder, so that no other process writes its images there. */
export async function owningEach({ each }: DrawingFlags, work: () => Promise<void>): Promise<void> {
  const owned = each === undefined ? undefined : await own(each, { inside: true });
  try {
    if (each !== undefined) await removeStrays(each, owned);
    await work();
  } finally {
    await owned?.release();
  }
}

export interface Drawn extends DrawnImages {
  seconds: number;
  film?: Film;
}

/** Generates images with progress and preview. Returns undefined, after printing a message, if a signal stopped it. */
export async function drawImages(
  model: ModelFolder,
  flags: DrawingFlags & SamplingSettings,
  frames: (sampler: Sampler, running: { batch: number; signal: AbortSignal }) => AsyncGenerator<Frame, Uint8Array>,
): Promise<Drawn | undefined> {
  const { imageSize: size, channels } = model.config;
  const picture: ImageGrid = { count: flags.count, size, channels, columns: flags.columns };
  const film = flags.animate === undefined ? undefined : filming(flags.animate, picture);
  return withProgress({ quiet: flags.json, preview: flags.preview }, async ({ progress, signal, closing }) => {
    const engine = await openEngine(flags);
    const { sampler, batch } = openSampler(engine, model, flags);
    closing(sampler, () => sampler.dispose());
    progress.update("loading the model");
    const line = drawingLine({ count: flags.count, batch });
    const started = performance.now();
    const stream = frames(sampler, { batch, signal });
    try {
      for (;;) {
        const next = await stream.next();
        if (next.done) {
          const seconds = (performance.now() - started) / 1000;
          return { images: next.value, seconds, device: engine.provider, precision: unusual(engine.precision), film };
        }
        film?.add(next.value);
        progress.update(line(next.value), (room) => preview(next.value, picture, { ...room, batch }));
      }
    } finally {
      await stream.return(new Uint8Array()); // if the film or the progress failed
    }
  });
}

/** Share done, rate and time left. Timing starts at the first frame, because the model is loaded before it. */
export function drawingLine({ count, batch }: { count: number; batch: number }): (frame: Frame) => string {
  let first: { at: number; done: number } | undefined;
  return ({ done, finished }) => {
    first ??= { at: performance.now(), done };
    const seconds = (performance.now() - first.at) / 1000;
    const rate = (done - first.done) / seconds;
    const from = Math.floor(finished.image[0] / batch) * batch;
    const which = batch < count ? `  images ${from + 1} to ${Math.min(count, from + batch)} of ${count}` : "";
    const speed = rate > 0 ? `  ${rateOf(rate * count)}  ${duration((1 - done) / rate)} left` : "";
    return `${(100 * done).toFixed(0).padStart(3)}%${speed}${which}`;
  };
}
