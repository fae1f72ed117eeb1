/** What a training step draws beside its images: masks and dropout; all of it follows from (seed, step) alone. */

import { derive, permutation } from "../core/random.ts";
import { stepKey } from "../data/batches.ts";
import { anyOrder, type MaskRate } from "../levels/order.ts";
import type { Masks, Share } from "../model/plan.ts";

/**
 * Training masks: of each row what its level's kind hides (`order.ts`), which follows from the row's image and place. The
 * published rate has mean 1 and deviation 0.25.
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
 * Which of the predicted patches go down: of each row the share that `innerShare` has for its level, rounded and at least
 * one, at random. The loss is a mean over what goes down, so its expectation stays the same.
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
