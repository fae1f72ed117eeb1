/** Blank images: those of which nothing, or nearly nothing, differs from the background. */

import type { Dataset } from "../src/data/dataset.ts";
import { onWhite } from "../src/pictures/grid.ts";

export type Background = "white" | "black";

/** A pixel is background if every channel is at most this far from it. */
const tolerance = 5;
/** Images with fewer other pixels than this are nearly blank. */
export const nearlyBlankBelow = 20;

/** Whether the corners of training images are light or dark on average; at most 1,000 images are looked at. */
export function backgroundOf({ train, size, channels }: Dataset): Background {
  const count = Math.min(train.count, 1000);
  let sum = 0;
  for (let index = 0; index < count; index++) {
    const image = onWhite(train.image(index), channels);
    for (const at of [0, size - 1, size * (size - 1), size * size - 1])
      sum += image[3 * at] + image[3 * at + 1] + image[3 * at + 2];
  }
  return sum >= (count * 12 * 255) / 2 ? "white" : "black";
}

/** How many pixels of an image [S, S, channels] have a channel that differs from the background. */
export function inkOf(
  image: Uint8Array,
  { channels, background }: { channels: number; background: Background },
): number {
  const rgb = onWhite(image, channels);
  const differs = (value: number) => (background === "white" ? value < 255 - tolerance : value > tolerance);
  let ink = 0;
  for (let at = 0; at < rgb.length; at += 3)
    ink += Number(differs(rgb[at]) || differs(rgb[at + 1]) || differs(rgb[at + 2]));
  return ink;
}
