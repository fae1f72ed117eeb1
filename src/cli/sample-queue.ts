/** The work of `fractalgen sample --queue`: images are drawn by workers and saved one by one, so that a stop loses none. */

import { UserError } from "../core/errors.ts";
import { drawnByJobs } from "../queue/sampler.ts";
import { usualBatch } from "../workers/sampler.ts";
import { drawingLine, type Drawn } from "./drawing.ts";
import type { DrawingFlags } from "./drawing-options.ts";
import { unusual } from "./engine.ts";
import { openQueue, type QueueFlags, workersOf } from "./queue-options.ts";
import { withProgress } from "./running.ts";
import { type WantedImages, drawMissing, keptImages } from "./sample-each.ts";

/** Draws on workers with progress. Undefined if a signal stopped it, after a message. */
export async function drawOnQueue(
  flags: DrawingFlags & Pick<QueueFlags, "joins">,
  asked: WantedImages,
): Promise<Drawn | undefined> {
  if (flags.animate !== undefined)
    throw new UserError({
      subject: { setting: "animate" },
      problem: "workers send finished images, not their steps",
      hint: "leave it out, or draw a few images without --queue",
    });
  const { model } = asked.written;
  const total = asked.labels.length;
  const { batch = usualBatch } = flags;
  return withProgress({ quiet: flags.json, left: keptImages(flags) }, async (running) => {
    const { progress } = running;
    const executor = running.closing((await openQueue(flags, running))!, (one) => one.close());
    return drawMissing(flags, asked, running, async function* (missing) {
      const { length: count } = missing.labels;
      const line = drawingLine({ count, batch: count });
      progress.update(`${count} of ${total} images to draw`);
      const jobs = { most: batch, precision: unusual(flags.precision) };
      const { imageSize, channels } = model.config;
      for await (const part of drawnByJobs(executor, model, { ...missing, batch }, jobs)) {
        yield part; // it is written now
        const drawn = part.from + part.images.length / (imageSize ** 2 * channels);
        const told = line({ done: drawn / count, finished: { image: Int32Array.of(part.from) } });
        progress.update(`${told}  ${total - count + drawn} of ${total} images  ${workersOf(executor)}`);
      }
    });
  });
}
