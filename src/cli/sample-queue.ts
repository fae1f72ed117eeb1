/** The work of `fractalgen sample --queue`: images are drawn by workers and saved one by one, so that a stop loses none. */

import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../core/errors.ts";
import { readKept } from "../measures/drawn-set.ts";
import type { Executor } from "../queue/executor.ts";
import { queueSampler } from "../queue/sampler.ts";
import { eachFile, textOf, type Written } from "../runs/drawn-files.ts";
import { openUnfinished, unfinishedName } from "../runs/unfinished.ts";
import { usualBatch } from "../workers/sampler.ts";
import { drawingLine, type Drawn } from "./drawing.ts";
import type { DrawingFlags } from "./drawing-options.ts";
import { unusual } from "./engine.ts";
import { openQueue, type QueueFlags, workersOf } from "./queue-options.ts";
import { type Running, withProgress } from "./running.ts";

export interface WantedImages {
  labels: readonly number[];
  written: Written;
}

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
  const left = flags.each === undefined ? undefined : `; repeat the command to resume from the images in ${flags.each}`;
  return withProgress({ quiet: flags.json, left }, async (running) => {
    const executor = running.closing((await openQueue(flags, running))!, (one) => one.close());
    return drawWith(executor, flags, asked, running);
  });
}

/** Draws the missing images on the executor. */
export async function drawWith(
  executor: Executor,
  flags: DrawingFlags & Pick<QueueFlags, "joins">,
  { labels, written }: WantedImages,
  { progress, signal }: Pick<Running, "progress" | "signal">,
): Promise<Drawn> {
  const { model, names, settings } = written;
  const { each, seed, batch = usualBatch } = flags;
  const { imageSize: size, channels } = model.config;
  const bytes = size * size * channels;
  const text = textOf(flags, written, flags);
  const files = each === undefined ? undefined : eachFile(each, { config: model.config, names, text });
  const resumes = each !== undefined && (await openUnfinished(each, { written, labels, seed, signal }));
  const images = new Uint8Array(labels.length * bytes);
  const missing: number[] = [];
  for (const index of labels.keys())
    if (resumes && !flags.joins && existsSync(files!.path(index)))
      images.set(await readKept(files!.path(index), { size, channels }), index * bytes);
    else missing.push(index);

  const precision = unusual(flags.precision);
  const sampler = queueSampler(executor, model, { most: batch, precision });
  const asked = { labels: missing.map((index) => labels[index]), indices: missing, seed, ...settings, batch, signal };
  const line = drawingLine({ count: missing.length, batch: missing.length });
  const started = performance.now();
  progress.update(`${missing.length} of ${labels.length} images to draw`);
  for await (const { finished, images: drawn, ...frame } of sampler.sample(asked)) {
    for (const at of finished.image) {
      const image = drawn.subarray(at * bytes, (at + 1) * bytes);
      images.set(image, missing[at] * bytes);
      await files?.write(missing[at], image);
    }
    const done = labels.length - missing.length + Math.round(frame.done * missing.length);
    progress.update(
      `${line({ ...frame, finished, images: drawn })}  ${done} of ${labels.length} images  ${workersOf(executor)}`,
    );
  }
  if (each !== undefined) await rm(join(each, unfinishedName), { force: true });
  const seconds = (performance.now() - started) / 1000;
  return { images, seconds, device: flags.device, precision, eachWritten: each !== undefined };
}
