/**
 * The random draws of a training step besides its images: masks, shares and dropout. They depend only on (seed, step).
 */

import { derive, permutation } from "../core/random.ts";
import { stepKey } from "../data/batches.ts";
import { anyOrder, type MaskRate } from "../levels/order.ts";
import type { Masks, Share } from "../model/plan.ts";

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
      const row = derive(derive(derive(key, level), image[at]), place[at]);
      mask.set(order.trainingMask(row, tokens, { maskRate, maskRateDeviation }), at * tokens);
    }
    return mask;
  };
}

/**
 * Which of the predicted patches are passed down: in each row, a random selection of the share that `innerShare` has
 * for the level, rounded and at least one. The loss is a mean over the patches passed down, so its expectation stays
 * the same.
 */
export function trainingShare(seed: number, step: number, innerShare: readonly number[]): Share | undefined {
  if (innerShare.every((share) => share === 1)) return undefined;
  const key = stepKey(seed, "shares", step);
  return (level, { image, place }, predicted) => {
    const share = innerShare[level] ?? 1;
    if (share === 1) return predicted;
    const tokens = predicted.length / image.length;
    const down = new Uint8Array(predicted.length);
    for (let at = 0; at < image.length; at++) {
      const own = predicted.subarray(at * tokens, (at + 1) * tokens);
      let left = Math.max(1, Math.round(share * own.reduce((a, b) => a + b, 0)));
      for (const patch of permutation(derive(derive(derive(key, level), image[at]), place[at]), tokens)) {
        if (!own[patch] || left-- <= 0) continue;
        down[at * tokens + patch] = 1;
      }
    }
    return down;
  };
}

export const dropoutSeed = (seed: number, step: number): number => stepKey(seed, "dropout", step)[0] | 0;
