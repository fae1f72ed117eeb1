/** Opens any data set by its name or path, decoding it into the cache first where need be. Knows nothing of models. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import { datasetFormat, readDatasetFile } from "./dataset-file.ts";
import type { Dataset } from "./dataset.ts";
import { decodeSource, recipe } from "./decode.ts";
import { emojiDataset } from "./emoji.ts";
import type { EmojiSet } from "./emoji-sets.ts";
import { findSource } from "./formats.ts";
import { type Found, type Source, trainOnly, withHeldOut } from "./source.ts";
import type { HeldOutShare } from "./split.ts";

/** How data are read and split. */
export interface DataOptions {
  /** Pixels per side; by default the images' own size where all are squares alike and small or in an array, else 32. */
  imageSize?: number;
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; by default 1 where every image is grey, else 3. */
  channels?: number;
  /** A fraction, or the path of what to hold out; by default the source's own part for that, else 0.05. */
  heldOut?: string | number;
  /** A regular expression on an image's name: images of the same first capture group (or match) stay on one side. */
  group?: string;
  /** Of emoji, the vendors to take; by default all but those with a share-alike licence. */
  sets?: readonly EmojiSet[];
  /** Leave out images that are smaller than the image size, rather than refuse the data. */
  skipSmall?: boolean;
  /** The folder of decoded data sets; made when missing. */
  cache: string;
  /** Images whose size was read, of how many; not called for arrays, where one size holds for all. */
  onMeasure?: (done: number, total: number) => void;
  /** Images decoded, of how many; then comes the data set. */
  onProgress?: (done: number, total: number) => void;
  /** Called for each image left out while decoding; `skipped` of the data set has them all at any time. */
  onSkipped?: (name: string, reason: string) => void;
  signal?: AbortSignal;
}

const usualFraction = 0.05;

/**
 * `emoji`; or the path of a folder or file in one of the formats of `formats.ts`: images in folders, IDX, Parquet, `.npz`,
 * CIFAR's and ImageNet32's batches, Tiny ImageNet. Decoded once into `cache`, then read from there.
 * Images are cropped as ADM does and never enlarged. A UserError says in a sentence what is wrong with the data.
 */
export async function openDataset(source: string, options: DataOptions): Promise<Dataset> {
  checkOptions(options);
  if (source === "emoji") return openEmoji(options);
  if (options.sets) throw new UserError(`sets: only the emoji data are made of sets, ${source} is not; leave them out`);
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
    await decodeSource(opened.source, path, { ...options, where: source, share });
  }
  return readDatasetFile(path);
}

function checkOptions({ imageSize, channels }: DataOptions): void {
  const whole = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most;
  if (imageSize !== undefined && !whole(imageSize, 4096))
    throw new UserError(`image size: expected a whole number from 1 to 4096, got ${imageSize}`);
  if (channels !== undefined && !whole(channels, 4))
    throw new UserError(`channels: expected 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA), got ${channels}`);
}

function openEmoji({
  imageSize,
  channels,
  heldOut,
  group,
  sets,
  cache,
  onProgress,
  signal,
}: DataOptions): Promise<Dataset> {
  if (heldOut !== undefined || group !== undefined)
    throw new UserError(
      `emoji: what is held out is fixed, by code point, for all vendors' pictures of an emoji must stay together; leave out ${heldOut === undefined ? "the group" : "the held-out part"}`,
    );
  if (channels !== undefined && channels !== 3)
    throw new UserError(`emoji: they are drawn in RGB, 3 channels, not ${channels}; leave out the channels`);
  return emojiDataset({ size: imageSize, sets, cache, onProgress, signal });
}

/** A fraction, a path, or what the source or the usual fraction gives. */
function heldOutOf({ heldOut }: DataOptions): string | number | undefined {
  if (heldOut === undefined || heldOut === "") return undefined;
  const fraction = Number(heldOut);
  if (Number.isNaN(fraction) && typeof heldOut === "string") return heldOut;
  if (fraction > 0 && fraction < 1) return fraction;
  throw new UserError(`held-out part: expected a fraction above 0 and below 1 or a path, got ${heldOut}`);
}

function groupOf({ group }: DataOptions): RegExp | undefined {
  try {
    return group === undefined ? undefined : new RegExp(group);
  } catch (error) {
    throw new UserError(
      `group: "${group}" is no regular expression (${(error as Error).message}); expected one such as "^(.*)_\\d+"`,
    );
  }
}

interface Opening {
  found: Found;
  other?: Found;
  heldOut: string | number | undefined;
  group?: RegExp;
}

/** The source with the part to hold out settled: its own, another source's, or a share by name. */
async function openParts(
  where: string,
  { found, other, heldOut, group }: Opening,
): Promise<{ source: Source; share?: HeldOutShare }> {
  const source = await found.open();
  const own = source.heldOutName;
  if (group && (other || (own !== undefined && heldOut === undefined)))
    throw new UserError(
      `group: ${other ? String(heldOut) : `${own} of ${where}`} is held out, so nothing is chosen by group; leave out the group, or hold out a fraction instead`,
    );
  if (other) return { source: withHeldOut(source, await other.open(), String(heldOut)) };
  if (own !== undefined && heldOut === undefined) return { source };
  return { source: trainOnly(source), share: { fraction: Number(heldOut ?? usualFraction), group } };
}

/** Another source, another of its files, another option that matters: another name. */
function fileName(
  source: string,
  { found, other, imageSize, channels, heldOut, group, skipSmall }: DataOptions & { found: Found; other?: Found },
): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([datasetFormat, recipe, resolve(source), heldOut, imageSize, channels, group, skipSmall]));
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
