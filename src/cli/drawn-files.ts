/** Writes generated images: the grid, individual images and the animation; then reports what was written. */

import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { recordedSampling } from "../config/sampling.ts";
import { counted } from "../core/counted.ts";
import { duration, rateOf } from "../core/duration.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import type { ModelFolder } from "../files/model.ts";
import { gridPng, imagePng } from "../pictures/grid.ts";
import type { Drawn } from "./drawing.ts";
import type { Precision } from "../graph/form.ts";
import type { DrawingFlags } from "./drawing-options.ts";
import type { Picture } from "./film.ts";
import { nameOf } from "./models.ts";
import type { SamplingSettings } from "./sampling-options.ts";
import { version } from "./version.ts";

/** What the output files record: the model, a name for each image, and the contents of their text chunks. */
export interface Written {
  model: ModelFolder;
  /** `names` has one entry per image; `inTurn` holds the requested names, which the images cycle through. */
  names: string[];
  inTurn: string[];
  settings: SamplingSettings;
  /** Other options that affect the images. */
  options?: object;
  /** Additional text chunks. */
  details?: Record<string, string>;
  /** How many images of the grid fit. */
  shown: number;
  /** The grid, if it shows more than the generated images. */
  grid?: { images: Uint8Array; picture: Picture; labels: string[] };
}

/** Writes the grid and, if requested, each image and the animation; reports them together with `told`. */
export async function writeDrawn(
  flags: DrawingFlags,
  drawn: Drawn,
  written: Written,
  told: object = {},
): Promise<void> {
  const { model, names, inTurn, settings, options, shown, grid } = written;
  const { config } = model;
  const { count, seed } = flags;
  const dependedOn = { ...recordedSampling(settings), ...options };
  const text = textOf(flags, written, drawn);
  const { imageSize: size, channels } = config;
  const bytes = size * size * channels;
  const { images, picture, labels } = grid ?? {
    images: drawn.images,
    picture: { count, size, channels, columns: flags.columns },
    labels: names,
  };
  const fitting = { ...picture, count: shown, labels: labels.slice(0, shown), text: text(inTurn.join(",")) };
  await writeFileAtomic(flags.out, await gridPng(images.subarray(0, shown * bytes), fitting));
  const files = flags.each === undefined ? undefined : eachFile(flags.each, { config, names, text });
  const each = files && names.map((_, i) => files.path(i));
  if (!drawn.eachWritten)
    for (const i of names.keys()) await files?.write(i, drawn.images.subarray(i * bytes, (i + 1) * bytes));
  await drawn.film?.write(drawn.images);
  const cut = shown < picture.count && { gridImages: shown };
  report(flags, drawn, { each, ...cut, classes: names, seed, ...told, ...dependedOn });
}

type Text = (label: string, index?: number) => Record<string, string>;

/** The text chunks of a picture: of one image, or without an index of the grid. */
export function textOf(
  { count, seed }: Pick<DrawingFlags, "count" | "seed">,
  { model, settings, options, details }: Pick<Written, "model" | "settings" | "options" | "details">,
  { device, precision = "float32" }: Pick<Drawn, "device"> & { precision?: Precision },
): Text {
  const dependedOn = { ...recordedSampling(settings), ...options };
  return (label, index) => ({
    Software: `fractalgen ${version}`,
    Model: nameOf(model),
    Class: label,
    Seed: String(seed),
    ...(index === undefined ? { Count: String(count) } : { Index: String(index) }),
    ...details,
    Options: JSON.stringify({ ...dependedOn, device, ...(precision === "float16" && { precision }) }),
  });
}

/** The file of every image, named by its number and `names`. */
export function eachFile(
  folder: string,
  { config, names, text }: { config: ModelConfig; names: readonly string[]; text: Text },
): { path(index: number): string; write(index: number, image: Uint8Array): Promise<void> } {
  const { imageSize: size, channels } = config;
  const digits = String(names.length - 1).length;
  const path = (i: number) =>
    join(folder, `${String(i).padStart(digits, "0")}-${names[i].replaceAll(/[^\w-]+/g, "-")}.png`);
  return {
    path,
    write: async (i, image) =>
      writeFileAtomic(path(i), await imagePng(image, { size, channels, text: text(names[i], i) })),
  };
}

/** Prints one line of JSON with `details`, or how long the generation took and which files were written. */
function report({ count, json, out, animate, each }: DrawingFlags, drawn: Drawn, details: object): void {
  const { seconds, device, precision } = drawn;
  if (json) {
    const made = { out, animation: animate, ...details, device, precision };
    console.log(JSON.stringify({ ...made, seconds, imagesPerSecond: count / seconds }));
    return;
  }
  const took = seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
  console.error(`${counted(count, "image")} in ${took} (${rateOf(count / seconds)})`);
  for (const path of [out, animate, each]) if (path !== undefined) console.log(path);
}
