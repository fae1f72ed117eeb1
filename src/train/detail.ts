/** How much detail each patch of a batch has, by which training chooses the patches that it passes down. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import type { Batch } from "../model/plan.ts";

/**
 * The detail of the patches of a level (numbered from 0) in an image of the batch: how many of a patch's pixels differ
 * from their left or upper neighbour. Patches are numbered by their place in the image, level by level, as in `Rows`.
 */
export type Detail = (level: number, image: number) => Float32Array;

/** Counts the detail of a batch's patches, at each level that is asked for. */
export function detailOf(config: ModelConfig, { images, labels }: Batch): Detail {
  const { imageSize: size } = config;
  const levels = placedLevels(config);
  const counted = new Map<number, Float32Array>();
  const patchesOf = (level: number) => levels.slice(0, level + 1).reduce((count, { tokens }) => count * tokens, 1);
  function count(level: number): Float32Array {
    const places = placesOf(config, level);
    const patches = patchesOf(level);
    const details = new Float32Array(labels.length * patches);
    for (let image = 0; image < labels.length; image++)
      for (let at = 0; at < size * size; at++)
        if (differs(config, images, { image, at })) details[image * patches + places[at]]++;
    counted.set(level, details);
    return details;
  }
  return (level, image) => {
    const patches = patchesOf(level);
    return (counted.get(level) ?? count(level)).subarray(image * patches, (image + 1) * patches);
  };
}

/** The place of every pixel's patch at a level: [S, S]. */
function placesOf(config: ModelConfig, level: number): Int32Array {
  const { imageSize: size } = config;
  const places = new Int32Array(size * size);
  for (const { size: side, patch, grid, tokens } of placedLevels(config).slice(0, level + 1))
    for (let at = 0; at < places.length; at++) {
      const [y, x] = [Math.floor(at / size) % side, at % side];
      places[at] = places[at] * tokens + Math.floor(y / patch) * grid + Math.floor(x / patch);
    }
  return places;
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
