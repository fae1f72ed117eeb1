/** Arranges images in a labelled grid, as pixels or PNG. Knows nothing of models; draws labels without system fonts. */

import sharp from "sharp";
import type { Bitmap } from "./bitmap.ts";
import { drawText, glyphHeight, textWidth } from "./font.ts";
import { insertPngText } from "./pngtext.ts";

/** How images are laid out in a grid. */
export interface GridOptions {
  count: number;
  /** Pixels per side of one image. */
  size: number;
  /** 1 (luma), 2 (luma, alpha), 3 (RGB) or 4 (RGBA); alpha is composited onto white. */
  channels: number;
  /** One per image, drawn below it and shortened to fit. Characters outside ASCII become question marks. */
  labels?: readonly string[];
  /** Default: about as many columns as rows. */
  columns?: number;
  /**
   * Enlargement of an image's pixels in the grid. Default: the largest integer that keeps a cell within 128 pixels and
   * the grid within 64 million pixels, but at least 1.
   */
  scale?: number;
}

const gap = 4;
const ink = 51;
const cellMost = 128;
const gridMost = 64e6;

export interface GridLayout {
  width: number;
  height: number;
  /** Images per row. */
  across: number;
  rowHeight: number;
  scale: number;
  /** All labels share one size: double if every label fits at that size. */
  textScale: number;
}

/** Computes the layout and size of a grid without drawing it. */
export function gridLayout(options: Omit<GridOptions, "channels">): GridLayout {
  const { count, size, labels, columns = Math.ceil(Math.sqrt(count)), scale } = options;
  if (count < 1) throw new Error("grid: there are no images to show");
  if (labels && labels.length !== count) throw new Error(`grid: ${labels.length} labels for ${count} images`);
  if (![columns, scale ?? 1].every((value) => Number.isInteger(value) && value > 0))
    throw new Error(`grid: columns and scale must be whole numbers above 0, not ${columns} and ${scale}`);
  const longest = labels ? Math.max(...new Set(labels.map(textWidth))) : 0;
  const at = (scale: number): GridLayout => {
    const cell = size * scale;
    const textScale = longest * 2 <= cell ? 2 : 1;
    const rowHeight = cell + gap + (labels ? glyphHeight * textScale + gap : 0);
    const across = Math.min(columns, count);
    const width = gap + across * (cell + gap);
    return { width, height: gap + Math.ceil(count / across) * rowHeight, across, rowHeight, scale, textScale };
  };
  if (scale !== undefined) return at(scale);
  let layout = at(Math.max(1, Math.floor(cellMost / size)));
  while (layout.scale > 1 && layout.width * layout.height > gridMost) layout = at(layout.scale - 1);
  return layout;
}

/** How many of the images, from the first one, fit into a grid of so many pixels: at least 1. */
export function fittingCount(options: Omit<GridOptions, "channels">, pixelsMost: number): number {
  const fits = (count: number) => {
    const { width, height } = gridLayout({ ...options, count, labels: options.labels?.slice(0, count) });
    return width * height <= pixelsMost;
  };
  if (fits(options.count)) return options.count;
  let [shown, more] = [1, options.count];
  while (more - shown > 1) {
    const middle = Math.floor((shown + more) / 2);
    if (fits(middle)) shown = middle;
    else more = middle;
  }
  return shown;
}

/** Draws a grid of `images` [count, size, size, channels] on white, each enlarged without smoothing. */
export function gridPixels(images: Uint8Array, options: GridOptions): Bitmap {
  const { count, size, channels, labels } = options;
  const { width, height, across, rowHeight, scale, textScale } = gridLayout(options);
  if (images.length !== count * size * size * channels)
    throw new Error(
      `grid: ${images.length} bytes are not images of shape [${[count, size, size, channels].join(", ")}]`,
    );
  const cell = size * scale;
  const data = new Uint8Array(width * height * 3).fill(255);

  for (let index = 0; index < count; index++) {
    const left = gap + (index % across) * (cell + gap);
    const top = gap + Math.floor(index / across) * rowHeight;
    const image = onWhite(
      images.subarray(index * size * size * channels, (index + 1) * size * size * channels),
      channels,
    );
    for (let y = 0; y < cell; y++)
      for (let x = 0; x < cell; x++) {
        const from = (Math.floor(y / scale) * size + Math.floor(x / scale)) * 3;
        const to = ((top + y) * width + left + x) * 3;
        for (let channel = 0; channel < 3; channel++) data[to + channel] = image[from + channel];
      }
    if (!labels) continue;
    const label = cut(labels[index], cell / textScale);
    const start = left + Math.floor((cell - textWidth(label) * textScale) / 2);
    drawText(label, (x, y) => {
      for (let row = 0; row < textScale; row++) {
        const to = ((top + cell + gap + y * textScale + row) * width + start + x * textScale) * 3;
        data.fill(ink, to, to + textScale * 3);
      }
    });
  }
  return { data, width, height };
}

/** `gridPixels` as PNG; `text` becomes its text chunks. */
export async function gridPng(
  images: Uint8Array,
  { text = {}, ...options }: GridOptions & { text?: Record<string, string> },
): Promise<Uint8Array> {
  const { data, width, height } = gridPixels(images, options);
  return insertPngText(
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
    text,
  );
}

/** Encodes one image [size, size, channels] as PNG at its own size and channels; `text` becomes its text chunks. */
export async function imagePng(
  image: Uint8Array,
  { size, channels, text = {} }: { size: number; channels: number; text?: Record<string, string> },
): Promise<Uint8Array> {
  checkChannels(channels);
  if (image.length !== size * size * channels)
    throw new Error(`image: ${image.length} bytes are not an image of shape [${[size, size, channels].join(", ")}]`);
  const picture = sharp(image, { raw: { width: size, height: size, channels } });
  return insertPngText(
    await picture
      .toColourspace(channels < 3 ? "b-w" : "srgb")
      .png()
      .toBuffer(),
    text,
  );
}

/** Composites an image [pixels, channels] onto white, giving opaque RGB [pixels, 3]. */
export function onWhite(image: Uint8Array, channels: number): Uint8Array {
  checkChannels(channels);
  if (channels === 3) return image;
  const rgb = new Uint8Array((image.length / channels) * 3);
  for (let from = 0, to = 0; from < image.length; from += channels, to += 3) {
    const alpha = channels === 1 ? 255 : image[from + channels - 1];
    for (let channel = 0; channel < 3; channel++) {
      const value = image[from + (channels === 4 ? channel : 0)];
      rgb[to + channel] = Math.round((value * alpha + 255 * (255 - alpha)) / 255);
    }
  }
  return rgb;
}

function checkChannels(channels: number): asserts channels is 1 | 2 | 3 | 4 {
  if (![1, 2, 3, 4].includes(channels)) throw new Error(`picture: expected 1 to 4 channels, got ${channels}`);
}

/** Shortens a label to `width` pixels, with two dots at the end if something is missing. */
function cut(label: string, width: number): string {
  if (textWidth(label) <= width) return label;
  const characters = [...label];
  while (characters.length && textWidth(`${characters.join("")}..`) > width) characters.pop();
  return characters.length ? `${characters.join("")}..` : "";
}
