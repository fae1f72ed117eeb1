/** Writes generated images: the grid and individual images, with their origin in text chunks. */

import { join } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { recordedSampling } from "../config/sampling.ts";
import type { Engine, Provider } from "../engine/engine.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { nameOf } from "../files/find-model.ts";
import type { ModelFolder } from "../files/model.ts";
import { type GridOptions, gridPng, imagePng } from "../pictures/grid.ts";
import type { SamplingSettings } from "../sample/settings.ts";

/** Where generated images go: the grid and, with `each`, a folder for each image. */
export interface DrawnOutput {
  count: number;
  seed: number;
  out: string;
  columns?: number;
  each?: string;
}

/** Generated images, [count, S, S, C] bytes, and what they were computed with. */
export interface DrawnImages {
  images: Uint8Array;
  device: Provider;
  /** Only if it is not float32. */
  precision?: "float16";
  /** Whether the files of each image are there already. */
  eachWritten?: boolean;
}

/** What the output files record: the model, a name for each image, and the contents of their text chunks. */
export interface Written {
  /** The program's name and version. */
  software: string;
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
  grid?: { images: Uint8Array; picture: GridOptions; labels: string[] };
}

/** Writes the grid and, if requested, each image. Returns the paths of the single images. */
export async function writeDrawn(
  flags: DrawnOutput,
  drawn: DrawnImages,
  written: Written,
): Promise<string[] | undefined> {
  const { model, names, inTurn, shown, grid } = written;
  const { config } = model;
  const { count } = flags;
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
  return each;
}

type Text = (label: string, index?: number) => Record<string, string>;

/** The text chunks of a picture: of one image, or without an index of the grid. */
export function textOf(
  { count, seed }: Pick<DrawnOutput, "count" | "seed">,
  { software, model, settings, options, details }: Omit<Written, "names" | "inTurn" | "grid">,
  { device, precision = "float32" }: { device: Provider; precision?: Engine["precision"] },
): Text {
  const dependedOn = { ...recordedSampling(settings), ...options };
  return (label, index) => ({
    Software: software,
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
