/** The default data set: emoji of several vendors, rendered on white. Knows nothing of models. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { datasetFormat, readDatasetFile, writeDatasetFile } from "./dataset-file.ts";
import { type Dataset, type Skipped, type Split, splitOf } from "./dataset.ts";
import {
  classOfEmoji,
  emojiClasses,
  emojiClassTable,
  emojiGroups,
  type EmojiRow,
  heldOutEmoji,
} from "./emoji-classes.ts";
import { emojiIcons, emojiPackages, emojiRows, type EmojiIcon } from "./emoji-icons.ts";
import { leftOutList, reasonLeftOut } from "./emoji-left-out.ts";
import { defaultSets, type EmojiSet, emojiSets } from "./emoji-sets.ts";

// Raise this whenever the code produces different images or splits; changes of the tables are detected by their hash.
const recipe = 2;
const lanes = 3;
// Vector icons are drawn at this multiple of the size and reduced with Lanczos, which is sharper than drawing them
// small.
const oversampling = 4;

/** How the emoji data set is made. */
export interface EmojiOptions {
  /** Pixels per side. */
  size?: number;
  /** The folder for decoded data sets; created if missing. */
  cache: string;
  /** The sets to use. Default: all except those with a share-alike licence. */
  sets?: readonly EmojiSet[];
  /** Called after each rendered picture. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * Opens the emoji as RGB bytes in the classes of `emojiClassTable`; they are rendered the first time, then read from
 * `cache`. The splits share no emoji: the held-out set is chosen by code point (see `heldOutEmoji`), because vendors
 * draw the same emoji alike. Of identical pictures only the first is kept. Throws a UserError if a package is not
 * installed.
 */
export async function emojiDataset({
  size = 32,
  cache,
  sets: asked = defaultSets,
  onProgress,
  signal,
}: EmojiOptions): Promise<Dataset> {
  const sets = emojiSets.filter((set) => asked.includes(set));
  signal?.throwIfAborted();
  const path = join(cache, emojiFileName({ size, sets }));
  if (!existsSync(path)) await writeDatasetFile(path, () => rendered(sets, { size, onProgress, signal }));
  return readDatasetFile(path);
}

async function rendered(
  sets: readonly EmojiSet[],
  { size, onProgress, signal }: { size: number } & Pick<EmojiOptions, "onProgress" | "signal">,
): Promise<Dataset> {
  const rows = emojiRows();
  const all = emojiIcons(sets, rows);
  const icons = all.filter(({ name }) => reasonLeftOut(name) === undefined);
  const images = await renderAll(icons, { size, onProgress, signal });
  const skipped = all.flatMap(({ name }) => {
    const reason = reasonLeftOut(name);
    return reason === undefined ? [] : [{ name, reason }];
  });
  return splitByEmoji(icons, images, { size, rows, skipped });
}

/**
 * The cache file name of the decoded data set; it depends on the recipe, the tables and the versions of the packages.
 */
export function emojiFileName({ size, sets = defaultSets }: { size: number; sets?: readonly EmojiSet[] }): string {
  const recipes = [recipe, oversampling, emojiClassTable, leftOutList];
  const sources = JSON.stringify([datasetFormat, recipes, emojiPackages(sets), sets]);
  return `emoji-${size}-${createHash("sha256").update(sources).digest("hex").slice(0, 12)}.data`;
}

function splitByEmoji(
  icons: readonly EmojiIcon[],
  images: readonly Uint8Array[],
  { size, rows, skipped }: { size: number; rows: readonly EmojiRow[]; skipped: Skipped[] },
): Dataset {
  const classes = classOfEmoji(rows);
  const heldOut = heldOutEmoji(classes);
  const parts: { train: number[]; heldOut: number[] } = { train: [], heldOut: [] };
  const seen = new Map<string, string>();
  for (const [index, { code, name }] of icons.entries()) {
    const digest = createHash("sha256").update(images[index]).digest("base64");
    const same = seen.get(digest);
    if (same) skipped.push({ name, reason: `it is the same picture as ${same}` });
    else (heldOut.has(code) ? parts.heldOut : parts.train).push(index);
    if (!same) seen.set(digest, name);
  }
  const split = (indices: readonly number[]): Split =>
    splitOf({
      images: Buffer.concat(indices.map((index) => images[index])),
      labels: Int32Array.from(indices, (index) => emojiClassTable.indexOf(classes.get(icons[index].code)!)),
      names: indices.map((index) => icons[index].name),
    });
  return {
    name: "emoji",
    source: "emoji",
    classes: [...emojiClasses],
    groups: { ...emojiGroups },
    augmentable: {
      flip: emojiClassTable.map(({ flip = true }) => flip),
      hue: emojiClassTable.map(({ hue = true }) => hue),
    },
    size,
    channels: 3,
    train: split(parts.train),
    heldOut: split(parts.heldOut),
    skipped,
    notes: [],
    fingerprint: "", // computed when it is written
  };
}

/** Renders every icon to [size, size, 3] bytes, in order, a few at a time. */
async function renderAll(
  icons: readonly EmojiIcon[],
  {
    size,
    onProgress,
    signal,
  }: { size: number; onProgress?: (done: number, total: number) => void; signal?: AbortSignal },
): Promise<Uint8Array[]> {
  const images = Array.from<Uint8Array>({ length: icons.length });
  let next = 0;
  let done = 0;
  const lane = async () => {
    while (next < icons.length) {
      signal?.throwIfAborted();
      const index = next++;
      images[index] = await render(icons[index], size);
      onProgress?.(++done, icons.length);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return images;
}

const white = "#ffffff";

async function render({ name, picture }: EmojiIcon, size: number): Promise<Uint8Array> {
  const source = "file" in picture ? picture.file : Buffer.from(svgDocument(picture, size * oversampling));
  try {
    return await sharp(source)
      .flatten({ background: white })
      .resize(size, size, { fit: "contain", kernel: "lanczos3", background: white })
      .toColourspace("srgb")
      .raw()
      .toBuffer();
  } catch (error) {
    throw new Error(`emoji ${name}: could not be rendered`, { cause: error });
  }
}

function svgDocument(
  { svgBody, width, height }: { svgBody: string; width: number; height: number },
  pixels: number,
): string {
  const scale = pixels / Math.max(width, height);
  const attributes = `width="${width * scale}" height="${height * scale}" viewBox="0 0 ${width} ${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ${attributes}>${svgBody}</svg>`;
}
