/** The default data set: emoji of several vendors, rendered on white. Knows nothing of models. */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { datasetFormat, readDatasetFile, writeDatasetFile } from "./dataset-file.ts";
import { type Dataset, type Skipped, type Split, splitOf } from "./dataset.ts";
import { classOfEmoji, emojiClasses, heldOutEmoji } from "./emoji-classes.ts";
import { emojiIcons, emojiPackages, emojiRows, emojiSets, type EmojiIcon, type EmojiSet } from "./emoji-icons.ts";

// Raise this whenever the code of the recipe gives other images, labels or splits.
const recipe = 1;
const lanes = 3;
// Vector icons are drawn at this multiple of the size and reduced with Lanczos, which is sharper than drawing small.
const oversampling = 4;

export interface EmojiOptions {
  /** Pixels per side. */
  size?: number;
  /** The folder of decoded data sets; made when missing. */
  cache: string;
  /** The sets to take, all of them by default. */
  only?: readonly EmojiSet[];
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * Emoji as RGB bytes in 14 classes; about 20 s the first time, then read from `cache`. The splits share no emoji: the
 * held-out sixteenth is chosen by code point (see `heldOutEmoji`), since vendors draw the same emoji alike. Of
 * pictures that are equal byte for byte only the first is kept. UserError when a package is not installed.
 */
export async function emojiDataset({
  size = 32,
  cache,
  only = emojiSets,
  onProgress,
  signal,
}: EmojiOptions): Promise<Dataset> {
  const sets = emojiSets.filter((set) => only.includes(set));
  const path = join(cache, emojiFileName({ size, sets }));
  if (!existsSync(path)) {
    const rows = emojiRows();
    const icons = emojiIcons(sets, rows);
    const images = await renderAll(icons, { size, onProgress, signal });
    await writeDatasetFile(path, splitByEmoji(icons, images, { size, classes: classOfEmoji(rows) }));
  }
  return readDatasetFile(path);
}

/** The name of the decoded data set in its cache; another recipe or version of a package gives another one. */
export function emojiFileName({ size, sets = emojiSets }: { size: number; sets?: readonly EmojiSet[] }): string {
  const sources = JSON.stringify([datasetFormat, recipe, oversampling, emojiPackages(sets), sets]);
  return `emoji-${size}-${createHash("sha256").update(sources).digest("hex").slice(0, 12)}.data`;
}

function splitByEmoji(
  icons: readonly EmojiIcon[],
  images: readonly Uint8Array[],
  { size, classes }: { size: number; classes: ReadonlyMap<string, string> },
): Dataset {
  const heldOut = heldOutEmoji(classes);
  const parts: { train: number[]; heldOut: number[] } = { train: [], heldOut: [] };
  const skipped: Skipped[] = [];
  const seen = new Map<string, string>();
  for (const [index, { code, name }] of icons.entries()) {
    const digest = createHash("sha256").update(images[index]).digest("base64");
    const same = seen.get(digest);
    if (same) skipped.push({ name, reason: `the same picture as ${same}` });
    else (heldOut.has(code) ? parts.heldOut : parts.train).push(index);
    if (!same) seen.set(digest, name);
  }
  const split = (indices: readonly number[]): Split =>
    splitOf({
      images: Buffer.concat(indices.map((index) => images[index])),
      labels: Int32Array.from(indices, (index) => emojiClasses.indexOf(classes.get(icons[index].code)!)),
      names: indices.map((index) => icons[index].name),
    });
  return {
    name: "emoji",
    source: "emoji",
    classes: [...emojiClasses],
    size,
    channels: 3,
    train: split(parts.train),
    heldOut: split(parts.heldOut),
    skipped,
    notes: [],
    fingerprint: "", // made when it is written
  };
}

/** Every icon as [size, size, 3] bytes, in order, a few at a time. */
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
