/** Which of the predicted patches a training step passes down. The draws depend only on (seed, step). */

import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { filledBy } from "../core/arrays.ts";
import { permutation, uniform } from "../core/random.ts";
import { stepKey } from "../data/batches.ts";
import { type Batch, marked, type Share } from "../model/plan.ts";
import { rowKey } from "./batches.ts";
import { detailOf } from "./detail.ts";

/**
 * Passes down, in each row, the share of the predicted patches that `innerShare` has for the level, rounded and at
 * least one. They are chosen uniformly, or by `detail`: then patches with more detail are chosen more often and weigh
 * less in the loss. Either way, the expectation of the loss is the mean over all predicted patches, apart from the
 * rounding in rows with different numbers of them. Undefined if all are passed down.
 */
export function trainingShare(
  { seed, innerShare, innerChoice }: Pick<TrainingConfig, "seed" | "innerShare" | "innerChoice">,
  step: number,
): ((config: ModelConfig, batch: Batch) => Share) | undefined {
  if (innerShare.every((share) => share === 1)) return undefined;
  const key = stepKey(seed, "shares", step);
  return (config, batch) => {
    const detail = innerChoice === "detail" ? detailOf(config, batch) : undefined;
    return (level, { image, place }, predicted) => {
      const share = innerShare[level] ?? 1;
      const down = Float32Array.from(predicted);
      if (share === 1) return down;
      const tokens = predicted.length / image.length;
      for (let at = 0; at < image.length; at++) {
        const own = down.subarray(at * tokens, (at + 1) * tokens);
        const count = Math.min(marked(own), Math.max(1, Math.round(share * marked(own))));
        const drawn = rowKey(key, level, { image: image[at], place: place[at] });
        const patches = permutation(drawn, tokens).filter((patch) => own[patch] > 0);
        if (count === patches.length) continue;
        if (!detail) for (const patch of patches.subarray(count)) own[patch] = 0;
        else {
          const details = detail(level, image[at]).subarray(place[at] * tokens);
          keepByDetail(own, patches, { count, details, start: uniform(drawn, tokens) });
        }
      }
      return down;
    };
  };
}

/** This share of the draws ignores detail, so that every patch is drawn sometimes and no weight is large. */
const evenly = 0.2;

/**
 * Keeps `count` of the patches of a row and sets their weights: the inverse of their probabilities, 1 on average.
 * Systematic sampling with unequal probabilities (Madow 1949) of patches in random order, beginning at `start` in
 * [0, 1).
 */
function keepByDetail(
  row: Float32Array,
  patches: Int32Array,
  { count, details, start }: { count: number; details: Float32Array; start: number },
): void {
  const total = patches.reduce((sum, patch) => sum + details[patch], 0);
  const wanted = filledBy(new Float64Array(patches.length), patches, (patch) =>
    total === 0 ? 1 : evenly / patches.length + ((1 - evenly) * details[patch]) / total,
  );
  let before = start;
  inclusionProbabilities(wanted, count).forEach((probability, i) => {
    const after = i + 1 < patches.length ? before + probability : start + count;
    const kept = Math.floor(after) > Math.floor(before);
    row[patches[i]] = kept ? count / patches.length / probability : 0;
    before = after;
  });
}

/** Probabilities in proportion to `wanted` whose sum is `count`, except that none exceeds 1. */
function inclusionProbabilities(wanted: Float64Array, count: number): Float64Array {
  const certain = new Set<number>();
  for (;;) {
    const rest = wanted.reduce((sum, one, i) => (certain.has(i) ? sum : sum + one), 0);
    const found = wanted.map((one, i) => (certain.has(i) ? 1 : ((count - certain.size) * one) / rest));
    const more = [...found.keys()].filter((i) => found[i] >= 1 && !certain.has(i));
    if (more.length === 0) return found;
    for (const i of more) certain.add(i);
  }
}
