/** What commands that draw images share: their options, checks of outputs, progress while drawing, and what is written. */

import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { recordedSampling } from "../config/sampling.ts";
import { counted } from "../core/counted.ts";
import { duration, rateOf } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { removeStrays, writeFileAtomic } from "../files/atomic.ts";
import type { ModelFolder } from "../files/model.ts";
import { own } from "../files/ownership.ts";
import { gridLayout, gridPng, imagePng } from "../pictures/grid.ts";
import type { Frame, Sampler } from "../sample/sampler.ts";
import { openSampler } from "../workers/sampler.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { type Film, filming, type Picture } from "./film.ts";
import { checkFile, checkFolder } from "./outputs.ts";
import { preview } from "./preview.ts";
import { withProgress } from "./running.ts";
import type { SamplingSettings } from "./sampling-options.ts";
import { bytes, filled, whole } from "./values.ts";
import { version } from "./version.ts";

export interface DrawingFlags {
  count: number;
  seed: number;
  out: string;
  columns?: number;
  animate?: string;
  each?: string;
  json?: boolean;
  batch: number;
  memory?: number;
  preview: boolean;
  device: Provider;
  threads?: number;
}

/** What is written and how it runs. */
export const addDrawingOptions = (command: Command, { out, columns }: { out: string; columns: string }): Command =>
  command
    .optionsGroup("What is written:")
    .option("--out <file>", "the grid, a PNG with model, seed and options in its text chunks", filled, out)
    .option("--columns <n>", `columns of the grid (default: ${columns})`, whole({ least: 1, most: 1000 }))
    .option("--animate <file>", "an animation of how the fractal fills in, .webp or .gif", filled)
    .option("--each <dir>", "also every image on its own, as PNG", filled)
    .option("--json", "print one line of JSON, no progress")
    .optionsGroup("How it runs:")
    .option("--batch <n>", "images made side by side; they do not depend on it", whole({ least: 1, most: 4096 }), 16)
    .option("--memory <size>", "most memory to take, such as 3GB (default: what is free)", bytes)
    .option("--no-preview", "no preview on the terminal")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption());

/** An image reader's usual limit (sharp's, 16383 squared). */
const gridMost = 268e6;

/** Finds what would keep the outputs from being written before an hour of work goes into them. */
export function checkOutputs({ out, animate, each }: DrawingFlags, grid: Picture & { labels: string[] }): void {
  checkFile(out, { option: "--out", endings: [".png"] });
  if (animate !== undefined) checkFile(animate, { option: "--animate", endings: [".webp", ".gif"] });
  if (each !== undefined) checkFolder(each, { option: "--each" });
  const { width, height } = gridLayout(grid);
  if (width * height > gridMost)
    throw new UserError(
      `--count: a grid of ${grid.count} images would have ${width}x${height} pixels, at most ${gridMost / 1e6} million can be written; ask for fewer images, several times with other seeds`,
    );
}

/** Does the work as the owner of the folder of --each, so that no other process mixes its images in. */
export async function owningEach({ each }: DrawingFlags, work: () => Promise<void>): Promise<void> {
  const owned = each === undefined ? undefined : await own(each, { inside: true });
  try {
    if (each !== undefined) await removeStrays(each, owned);
    await work();
  } finally {
    await owned?.release();
  }
}

interface Drawn {
  images: Uint8Array;
  seconds: number;
  device: Provider;
  film?: Film;
}

/** Draws with progress and preview; nothing where a signal stopped it, which is said. */
export async function drawImages(
  model: ModelFolder,
  flags: DrawingFlags & SamplingSettings,
  frames: (sampler: Sampler, running: { batch: number; signal: AbortSignal }) => AsyncGenerator<Frame, Uint8Array>,
): Promise<Drawn | undefined> {
  const { imageSize: size, channels } = model.config;
  const picture: Picture = { count: flags.count, size, channels, columns: flags.columns };
  const film = flags.animate === undefined ? undefined : filming(flags.animate, picture);
  return withProgress({ quiet: flags.json, preview: flags.preview }, async ({ progress, signal, closing }) => {
    const engine = await openEngine(flags);
    const { sampler, batch } = openSampler(engine, model, flags);
    closing(sampler, () => sampler.dispose());
    progress.update("loading the model");
    const line = progressLine({ count: flags.count, batch });
    const started = performance.now();
    const stream = frames(sampler, { batch, signal });
    for (;;) {
      const next = await stream.next();
      if (next.done) {
        const seconds = (performance.now() - started) / 1000;
        return { images: next.value, seconds, device: engine.provider, film };
      }
      film?.add(next.value);
      progress.update(line(next.value), (room) => preview(next.value, picture, { ...room, batch }));
    }
  });
}

/** Share done, rate and time left, counted from the first frame on: before it the model is loaded. */
function progressLine({ count, batch }: { count: number; batch: number }): (frame: Frame) => string {
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

/** What a model without a name is called: its folder, or that of the run whose last checkpoint it is. */
export function nameOf({ config, folder }: ModelFolder): string {
  const path = resolve(folder);
  return config.name ?? basename(basename(path) === "last" ? dirname(path) : path);
}

/** What pictures are written with: the model, a name for each image, and what their text says beside that. */
interface Written {
  model: ModelFolder;
  /** Of the drawn images, and as they were asked for, which images take in turn. */
  names: string[];
  inTurn: string[];
  settings: SamplingSettings;
  /** Further options that images depend on. */
  options?: object;
  /** Further texts. */
  details?: Record<string, string>;
  /** The grid, where it shows more than the drawn images. */
  grid?: { images: Uint8Array; picture: Picture; labels: string[] };
}

/** Writes the grid, each image and the animation, as far as they were asked for, and reports it with `told`. */
export async function writeDrawn(
  flags: DrawingFlags,
  drawn: Drawn,
  written: Written,
  told: object = {},
): Promise<void> {
  const { model, names, inTurn, settings, options, details, grid } = written;
  const { config } = model;
  const { count, seed } = flags;
  const dependedOn = { ...recordedSampling(settings), ...options };
  const text = (label: string, index?: number) => ({
    Software: `fractalgen ${version}`,
    Model: nameOf(model),
    Class: label,
    Seed: String(seed),
    ...(index === undefined ? { Count: String(count) } : { Index: String(index) }),
    ...details,
    Options: JSON.stringify({ ...dependedOn, device: drawn.device }),
  });
  const { imageSize: size, channels } = config;
  const { images, picture, labels } = grid ?? {
    images: drawn.images,
    picture: { count, size, channels, columns: flags.columns },
    labels: names,
  };
  const png = await gridPng(images, { ...picture, labels, text: text(inTurn.join(",")) });
  await writeFileAtomic(flags.out, png);
  const each =
    flags.each === undefined ? undefined : await writeEach(flags.each, drawn.images, { config, names, text });
  await drawn.film?.write(drawn.images);
  report(flags, drawn, { each, classes: names, seed, ...told, ...dependedOn });
}

/** Every image on its own, named by its number and `names`. */
async function writeEach(
  folder: string,
  images: Uint8Array,
  {
    config,
    names,
    text,
  }: { config: ModelConfig; names: string[]; text: (label: string, index: number) => Record<string, string> },
): Promise<string[]> {
  const { imageSize: size, channels } = config;
  const bytes = size * size * channels;
  const digits = String(names.length - 1).length;
  const paths: string[] = [];
  for (const [i, name] of names.entries()) {
    const path = join(folder, `${String(i).padStart(digits, "0")}-${name.replaceAll(/[^\w-]+/g, "-")}.png`);
    const image = images.subarray(i * bytes, (i + 1) * bytes);
    await writeFileAtomic(path, await imagePng(image, { size, channels, text: text(name, i) }));
    paths.push(path);
  }
  return paths;
}

/** One line of JSON with `details`, or how long it took and what was written. */
function report({ count, json, out, animate, each }: DrawingFlags, { seconds, device }: Drawn, details: object): void {
  if (json) {
    console.log(
      JSON.stringify({ out, animation: animate, ...details, device, seconds, imagesPerSecond: count / seconds }),
    );
    return;
  }
  const took = seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
  console.error(`${counted(count, "image")} in ${took} (${rateOf(count / seconds)})`);
  for (const path of [out, animate, each]) if (path !== undefined) console.log(path);
}
