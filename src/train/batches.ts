/**
 * The random draws of a training step besides its images: masks and dropout. share.ts draws the patches that are passed
 * down. All of them depend only on (seed, step).
 */

import { derive, type Key } from "../core/random.ts";
import { stepKey } from "../data/batches.ts";
import { anyOrder, type MaskRate } from "../levels/order.ts";
import type { Masks } from "../model/plan.ts";

/** The key of a level's row, from the key of a step. */
export const rowKey = (key: Key, level: number, { image, place }: { image: number; place: number }): Key =>
  derive(derive(derive(key, level), image), place);

/**
 * Training masks: the patches that each level's kind (`order.ts`) hides in each row, which depend on the row's image
 * and place. The published mask rate has mean 1 and standard deviation 0.25.
 */
export function trainingMasks(
  seed: number,
  step: number,
  { maskRate = 1, maskRateDeviation = 0.25 }: Partial<MaskRate> = {},
): Masks {
  const key = stepKey(seed, "masks", step);
  return (level, { image, place }, tokens, order = anyOrder) => {
    const mask = new Uint8Array(image.length * tokens);
    for (let at = 0; at < image.length; at++) {
      const row = rowKey(key, level, { image: image[at], place: place[at] });
      mask.set(order.trainingMask(row, tokens, { maskRate, maskRateDeviation }), at * tokens);
    }
    return mask;
  };
}

export const dropoutSeed = (seed: number, step: number): number => stepKey(seed, "dropout", step)[0] | 0;
