/** How much detail each patch of a batch has, by which training chooses the patches that it passes down. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import type { Batch } from "../model/plan.ts";

/**
 * The detail of the patches of a level (numbered from 0) in an image of the batch: how many of a patch's pixels differ
 * from their left or upper neighbour. Patches are numbered by their place in the image, level by level, as in `Rows`.
 */
export type Detail = (level: number, image: number) => Float32Array;

export function detailOf(config: ModelConfig, { images, labels }: Batch): Detail {
  const { imageSize: size } = config;
  const places = placesOf(config);
  const counts = places.map((own) => 1 + own.reduce((a, b) => Math.max(a, b), 0));
  const details = places.map((_, l) => new Float32Array(labels.length * counts[l]));
  for (let image = 0; image < labels.length; image++)
    for (let at = 0; at < size * size; at++)
      if (differs(config, images, { image, at })) places.forEach((own, l) => details[l][image * counts[l] + own[at]]++);
  return (level, image) => details[level].subarray(image * counts[level], (image + 1) * counts[level]);
}

/** For each level, the place of every pixel's patch: [S, S]. */
function placesOf(config: ModelConfig): Int32Array[] {
  const { imageSize: size } = config;
  let above = new Int32Array(size * size);
  return placedLevels(config).map(({ size: side, patch, grid, tokens }) => {
    above = above.map((place, at) => {
      const [y, x] = [Math.floor(at / size) % side, at % side];
      return place * tokens + Math.floor(y / patch) * grid + Math.floor(x / patch);
    });
    return above;
  });
}

function differs({ imageSize: size, channels }: ModelConfig, images: Uint8Array, { image, at }: Place): boolean {
  const pixel = (image * size * size + at) * channels;
  for (let c = pixel; c < pixel + channels; c++) {
    if (at % size > 0 && images[c] !== images[c - channels]) return true;
    if (at >= size && images[c] !== images[c - size * channels]) return true;
  }
  return false;
}

interface Place {
  image: number;
  /** The pixel, in raster order. */
  at: number;
}
