/** Images that `fractalgen sample --each` writes as soon as they are drawn, so that a stop loses none and memory holds few. */

import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { readKept } from "../measures/drawn-set.ts";
import type { DrawnPart } from "../queue/sampler.ts";
import type { SampleOptions, Sampler } from "../sample/sampler.ts";
import { openSampler } from "../workers/sampler.ts";
import { type Drawn, drawingLine } from "./drawing.ts";
import type { DrawingFlags } from "./drawing-options.ts";
import { eachFile, textOf, type Written } from "../runs/drawn-files.ts";
import { openEngine, unusual } from "./engine.ts";
import { preview } from "./preview.ts";
import { type Running, withProgress } from "./running.ts";
import { openUnfinished, unfinishedName } from "../runs/unfinished.ts";

export interface WantedImages {
  labels: readonly number[];
  written: Written;
}

/** What a stopped command leaves behind, as the end of a sentence. */
export const keptImages = ({ each }: DrawingFlags): string | undefined =>
  each === undefined ? undefined : `; repeat the command to resume from the images in ${each}`;

/** Draws in this process with progress. Undefined if a signal stopped it, after a message. */
export async function drawEach(flags: DrawingFlags, asked: WantedImages): Promise<Drawn | undefined> {
  const { model, settings } = asked.written;
  return withProgress({ quiet: flags.json, preview: flags.preview, left: keptImages(flags) }, async (running) => {
    const engine = await openEngine(flags);
    const { sampler, batch } = openSampler(engine, model, { ...flags, ...settings });
    running.closing(sampler, () => sampler.dispose());
    running.progress.update("loading the model");
    const { provider: device, precision = "float32" } = engine;
    return drawMissing({ ...flags, device, precision }, asked, running, (missing) =>
      inBatches(sampler, { ...missing, batch }, running),
    );
  });
}

/** Draws the images that are not there yet. `draw` yields them in order, as bytes. */
export async function drawMissing(
  flags: DrawingFlags & { joins?: unknown },
  { labels, written }: WantedImages,
  { signal }: Pick<Running, "signal">,
  draw: (missing: SampleOptions) => AsyncIterable<DrawnPart>,
): Promise<Drawn> {
  const { model, names, settings, shown } = written;
  const { each, seed, device } = flags;
  const { imageSize: size, channels } = model.config;
  const bytes = size * size * channels;
  const precision = unusual(flags.precision);
  const text = textOf(flags, written, { device, precision });
  const files = each === undefined ? undefined : eachFile(each, { config: model.config, names, text });
  const resumes =
    each !== undefined && (await openUnfinished(each, { written, labels, seed, device, precision, signal }));
  const images = new Uint8Array(shown * bytes);
  const show = (image: Uint8Array, index: number) => index < shown && images.set(image, index * bytes);
  const indices: number[] = [];
  for (const index of labels.keys())
    if (resumes && !flags.joins && existsSync(files!.path(index)))
      show(await readKept(files!.path(index), { size, channels }), index);
    else indices.push(index);

  const started = performance.now();
  const missing = { labels: indices.map((index) => labels[index]), indices, seed, ...settings, signal };
  for await (const { from, images: drawn } of draw(missing))
    for (let at = 0; at < drawn.length / bytes; at++) {
      const image = drawn.subarray(at * bytes, (at + 1) * bytes);
      show(image, indices[from + at]);
      await files?.write(indices[from + at], image);
    }
  if (each !== undefined) await rm(join(each, unfinishedName), { force: true });
  const seconds = (performance.now() - started) / 1000;
  return { images, seconds, device, precision, eachWritten: each !== undefined };
}

/** The images of a sampler, a batch at a time, with progress and preview. */
async function* inBatches(
  sampler: Sampler,
  { labels, indices = [], batch, ...options }: SampleOptions & { batch: number },
  { progress }: Pick<Running, "progress">,
): AsyncGenerator<DrawnPart> {
  const { imageSize: size, channels } = sampler.config;
  const line = drawingLine({ count: labels.length, batch });
  for (let from = 0; from < labels.length;) {
    // A short last batch alone would take fewer threads, which would have to open the model again.
    const to = labels.length - from < 2 * batch ? labels.length : from + batch;
    const count = to - from;
    const frames = sampler.sample({
      ...options,
      labels: labels.slice(from, to),
      indices: indices.slice(from, to),
      batch,
    });
    for (;;) {
      const { done, value } = await frames.next();
      if (done) {
        yield { from, images: value };
        break;
      }
      const image = value.finished.image.map((i) => from + i);
      const overall = {
        ...value,
        finished: { ...value.finished, image },
        done: (from + value.done * count) / labels.length,
      };
      progress.update(line(overall), (room) => preview(value, { count, size, channels }, { ...room, batch }));
    }
    from = to;
  }
}
