/** Opens any data set by its name or path, and decodes it into the cache first if needed. Knows nothing of models. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { listed } from "../core/text.ts";
import { datasetFormat, readDatasetFile } from "./dataset-file.ts";
import type { Dataset } from "./dataset.ts";
import { decodeSource, recipe } from "./decode.ts";
import { emojiDataset } from "./emoji.ts";
import type { EmojiSet } from "./emoji-sets.ts";
import { findSource } from "./formats.ts";
import { type Found, type Source, trainOnly, withHeldOut } from "./source.ts";
import type { HeldOutShare } from "./split.ts";

/** The options that decide what a data set contains, so that it can be opened again. */
export interface ContentOptions {
  /**
   * Pixels per side. Default: the images' own size if all are equal squares that are small or in an array, otherwise
   * 32.
   */
  imageSize?: number;
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. Default: 1 if every image is grey, otherwise 3. */
  channels?: number;
  /** A fraction, or the path of the held-out images. Default: the source's own held-out part, otherwise 0.05. */
  heldOut?: string | number;
  /** A regular expression for image names: images with the same first capture group (or match) stay in one split. */
  group?: string;
  /** For emoji: the vendors to use. Default: all except those with a share-alike licence. */
  sets?: readonly EmojiSet[];
  /** Leave out images smaller than the image size instead of rejecting the data. */
  skipSmall?: boolean;
  /** Names for the classes, in the order of their labels. Default: the data's own names, or their numbers. */
  classNames?: readonly string[];
}

/** How data are read and split. */
export interface DataOptions extends ContentOptions {
  /** The folder for decoded data sets; created if missing. */
  cache: string;
  /**
   * Called with the number of images measured so far and the total; not called for arrays, whose images share one size.
   */
  onMeasure?: (done: number, total: number) => void;
  /** Called with the number of images decoded so far and the total. */
  onProgress?: (done: number, total: number) => void;
  /** Called for each image skipped while decoding; `Dataset.skipped` lists them all later. */
  onSkipped?: (name: string, reason: string) => void;
  signal?: AbortSignal;
}

const contentOptions: Record<keyof ContentOptions, true> = {
  imageSize: true,
  channels: true,
  heldOut: true,
  group: true,
  sets: true,
  skipSmall: true,
  classNames: true,
};

/** The options among others that decide what a data set contains. */
export const contentOf = (options: ContentOptions): ContentOptions =>
  Object.fromEntries(Object.keys(contentOptions).map((name) => [name, options[name as keyof ContentOptions]]));

const usualFraction = 0.05;
const leaveOut = "leave it out";

/**
 * Opens `emoji`, or a folder or file in one of the formats of `formats.ts`: folders of images, IDX, Parquet, `.npz`,
 * CIFAR and ImageNet32 batches, Tiny ImageNet. The data are decoded once into `cache`, then read from there. Images are
 * cropped like ADM does and never enlarged. Throws a UserError if something is wrong with the data.
 */
export async function openDataset(source: string, options: DataOptions): Promise<Dataset> {
  checkOptions(options);
  if (source === "emoji") return openEmoji(options);
  if (options.sets)
    throw new UserError({
      subject: { setting: "sets" },
      problem: `only the emoji data have sets, ${source} has none`,
      hint: leaveOut,
    });
  const { cache, signal } = options;
  signal?.throwIfAborted();
  const heldOut = heldOutOf(options);
  const found = await findSource(source, { signal });
  const other = typeof heldOut === "string" ? await findSource(heldOut, { signal }) : undefined;
  const path = join(
    cache,
    fileName(source, { ...options, heldOut: other ? resolve(heldOut as string) : heldOut, found, other }),
  );
  if (!existsSync(path)) {
    const { share, ...opened } = await openParts(source, { found, other, heldOut, group: groupOf(options) });
    await decodeSource(named(opened.source, options.classNames), path, { ...options, where: source, share });
  }
  return readDatasetFile(path);
}

function checkOptions({ imageSize, channels }: DataOptions): void {
  const whole = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most;
  if (imageSize !== undefined && !whole(imageSize, 4096))
    throw new UserError({
      subject: { setting: "imageSize" },
      expected: "a whole number from 1 to 4096",
      got: String(imageSize),
    });
  if (channels !== undefined && !whole(channels, 4))
    throw new UserError({
      subject: { setting: "channels" },
      expected: "1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA)",
      got: String(channels),
    });
}

function openEmoji({
  imageSize,
  channels,
  heldOut,
  group,
  sets,
  classNames,
  cache,
  onProgress,
  signal,
}: DataOptions): Promise<Dataset> {
  if (heldOut !== undefined || group !== undefined)
    throw new UserError({
      subject: { setting: heldOut === undefined ? "group" : "heldOut" },
      problem:
        "the held-out set of emoji is fixed by code point, because all vendors' pictures of an emoji must stay together",
      hint: leaveOut,
    });
  if (classNames)
    throw new UserError({
      subject: { setting: "classNames" },
      problem: "the classes of emoji have names already",
      hint: leaveOut,
    });
  if (channels !== undefined && channels !== 3)
    throw new UserError({
      subject: { setting: "channels" },
      expected: "3 (RGB) for emoji",
      got: String(channels),
      hint: leaveOut,
    });
  return emojiDataset({ size: imageSize, sets, cache, onProgress, signal });
}

/** A fraction, a path, or undefined for the default. */
function heldOutOf({ heldOut }: DataOptions): string | number | undefined {
  if (heldOut === undefined || heldOut === "") return undefined;
  const fraction = Number(heldOut);
  if (Number.isNaN(fraction) && typeof heldOut === "string") return heldOut;
  if (fraction > 0 && fraction < 1) return fraction;
  throw new UserError({
    subject: { setting: "heldOut" },
    expected: "a fraction above 0 and below 1, or a path",
    got: String(heldOut),
  });
}

function groupOf({ group }: DataOptions): RegExp | undefined {
  try {
    return group === undefined ? undefined : new RegExp(group);
  } catch (error) {
    throw new UserError({
      subject: { setting: "group" },
      problem: `"${group}" is not a regular expression (${(error as Error).message})`,
      hint: 'use one such as "^(.*)_\\d+"',
    });
  }
}

/** The source with other class names. Throws a UserError if their number differs from that of the classes. */
function named(source: Source, names: readonly string[] | undefined): Source {
  if (names === undefined) return source;
  const { classes } = source;
  if (names.length !== classes.length)
    throw new UserError({
      subject: { setting: "classNames" },
      expected: `${counted(classes.length, "name")}, one for each class (${listed(classes)})`,
      got: `${names.length}`,
    });
  return { ...source, classes: [...names] };
}

interface Opening {
  found: Found;
  other?: Found;
  heldOut: string | number | undefined;
  group?: RegExp;
}

/** Opens the source and settles the held-out set: its own part, another source, or a share chosen by name. */
async function openParts(
  where: string,
  { found, other, heldOut, group }: Opening,
): Promise<{ source: Source; share?: HeldOutShare }> {
  const source = await found.open();
  const own = source.heldOutName;
  if (group && (other || (own !== undefined && heldOut === undefined)))
    throw new UserError({
      subject: { setting: "group" },
      problem: `${other ? String(heldOut) : `${own} of ${where}`} is held out, so groups are not used`,
      hint: [leaveOut, { do: "hold out a fraction instead", setting: "heldOut" }],
    });
  if (other) return { source: withHeldOut(source, await other.open(), String(heldOut)) };
  if (own !== undefined && heldOut === undefined) return { source };
  return { source: trainOnly(source), share: { fraction: Number(heldOut ?? usualFraction), group } };
}

/** The cache file name; it depends on the source, its files and every relevant option. */
function fileName(
  source: string,
  { found, other, classNames, ...options }: ContentOptions & { found: Found; other?: Found },
): string {
  const hash = createHash("sha256");
  const { imageSize, channels, heldOut, group, skipSmall } = options;
  hash.update(JSON.stringify([datasetFormat, recipe, resolve(source), heldOut, imageSize, channels, group, skipSmall]));
  if (classNames) hash.update(JSON.stringify(classNames));
  for (const { files } of other ? [found, other] : [found]) {
    hash.update(`${files.length}`);
    for (const { name, bytes, modified } of files) hash.update(JSON.stringify([name, bytes, modified]));
  }
  const plain = resolve(source)
    .replace(/^.*[\\/]/, "")
    .replace(/[^\w-]+/g, "-")
    .slice(0, 40);
  return `${plain || "data"}-${hash.digest("hex").slice(0, 16)}.data`;
}
