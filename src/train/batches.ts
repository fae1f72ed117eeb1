/** What a training step draws beside its images: masks and dropout; all of it follows from (seed, step) alone. */

import { derive, normal, permutation } from "../core/random.ts";
import { stepKey } from "../data/batches.ts";
import type { Masks, Share } from "../model/plan.ts";

export interface MaskRate {
  maskRate: number;
  maskRateDeviation: number;
}

/**
 * Training masks: a rate from a normal truncated to [0, 1] for each row, that share of its patches rounded up, in a
 * random order. The published normal has mean 1 and deviation 0.25.
 */
export function trainingMasks(
  seed: number,
  step: number,
  { maskRate = 1, maskRateDeviation = 0.25 }: Partial<MaskRate> = {},
): Masks {
  const key = stepKey(seed, "masks", step);
  // Around one end of [0, 1] a normal has the same shape inside and outside: both halves can be taken as the inner one.
  const folded = (z: number) => (maskRate === 1 ? -Math.abs(z) : maskRate === 0 ? Math.abs(z) : z);
  return (level, { image, place }, tokens) => {
    const mask = new Uint8Array(image.length * tokens);
    for (let at = 0; at < image.length; at++) {
      const row = derive(derive(derive(key, level), image[at]), place[at]);
      let rate = -1;
      for (let n = 0; rate < 0 || rate > 1; n++)
        rate = maskRate + maskRateDeviation * folded(normal(row, 1_000_000 + n));
      const masked = Math.max(1, Math.ceil(tokens * rate));
      for (const patch of permutation(row, tokens).subarray(0, masked)) mask[at * tokens + patch] = 1;
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
