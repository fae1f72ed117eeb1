/** Which images make up a step, and its random draws; all of it follows from (seed, step) alone. */

import type { TrainingConfig } from "../config/training.ts";
import { derive, type Key, normal, permutation, seedKey, uniform } from "../core/random.ts";
import { type Dataset, epochOrder, type Split } from "../data/dataset.ts";
import type { Batch, Masks } from "../model/plan.ts";

/** The streams of draws that a training run needs, one key each. */
const streams = { order: 1, labels: 2, masks: 3, flips: 4, balance: 5, dropout: 6 } as const;

const keyOf = (seed: number, stream: keyof typeof streams, step: number): Key =>
  derive(derive(seedKey(seed), streams[stream]), step);

/** Draws a step's images: epoch after epoch in a new order each, or by class weight where `balance` asks for it. */
export function batchSource(
  { train, classes, size, channels }: Dataset,
  config: TrainingConfig,
): (step: number) => Batch {
  const { batch, seed, labelDrop, flip, balance } = config;
  const pick = balance > 0 ? balancedPick(train, classes.length, config) : epochPick(train, config);
  const bytes = size * size * channels;
  return (step) => {
    const images = new Uint8Array(bytes * batch);
    const labels = new Int32Array(batch);
    for (let i = 0; i < batch; i++) {
      const index = pick(step * batch + i);
      const image = train.image(index);
      const mirror = flip && uniform(keyOf(seed, "flips", step), i) < 0.5;
      images.set(mirror ? mirrored(image, size, channels) : image, i * bytes);
      labels[i] = uniform(keyOf(seed, "labels", step), i) < labelDrop ? classes.length : train.labels[index];
    }
    return { images, labels };
  };
}

/** Left and right swapped: [size, size, channels] bytes. */
function mirrored(image: Uint8Array, size: number, channels: number): Uint8Array {
  const out = new Uint8Array(image.length);
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++) {
      const from = (row * size + size - 1 - column) * channels;
      out.set(image.subarray(from, from + channels), (row * size + column) * channels);
    }
  return out;
}

function epochPick({ count }: Split, { seed }: TrainingConfig): (n: number) => number {
  let epoch = -1;
  let order: Int32Array = new Int32Array();
  return (n) => {
    if (Math.floor(n / count) !== epoch) {
      epoch = Math.floor(n / count);
      order = epochOrder(count, { epoch, seed });
    }
    return order[n % count];
  };
}

function balancedPick(
  { count, labels }: Split,
  classes: number,
  { seed, balance }: TrainingConfig,
): (n: number) => number {
  const sizes = new Float64Array(classes);
  for (const label of labels) sizes[label]++;
  const cumulative = new Float64Array(count);
  let total = 0;
  for (let i = 0; i < count; i++) cumulative[i] = total += sizes[labels[i]] ** -balance;
  return (n) => {
    const target = uniform(keyOf(seed, "balance", n), 0) * total;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulative[middle] > target) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

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
  const key = keyOf(seed, "masks", step);
  // Around one end of [0, 1] a normal has the same shape inside and outside: both halves can be taken as the inner one.
  const folded = (z: number) => (maskRate === 1 ? -Math.abs(z) : maskRate === 0 ? Math.abs(z) : z);
  return masksFrom(
    (level, image, place) => derive(derive(derive(key, level), image), place),
    (row, tokens) => {
      let rate = -1;
      for (let n = 0; rate < 0 || rate > 1; n++)
        rate = maskRate + maskRateDeviation * folded(normal(row, 1_000_000 + n));
      return Math.max(1, Math.ceil(tokens * rate));
    },
  );
}

/** Evaluation masks: a uniform count in 1 .. tokens for each row. The batch's first image is the `first` of all. */
export function evaluationMasks(seed: number, first: number): Masks {
  const key = derive(seedKey(seed), 7);
  return masksFrom(
    (level, image, place) => derive(derive(derive(key, level), first + image), place),
    (row, tokens) => 1 + Math.floor(uniform(row, 1_000_000) * tokens),
  );
}

function masksFrom(
  keyOfRow: (level: number, image: number, place: number) => Key,
  count: (row: Key, tokens: number) => number,
): Masks {
  return (level, { image, place }, tokens) => {
    const mask = new Uint8Array(image.length * tokens);
    for (let row = 0; row < image.length; row++) {
      const key = keyOfRow(level, image[row], place[row]);
      const order = permutation(key, tokens);
      const masked = count(key, tokens);
      for (let i = 0; i < masked; i++) mask[row * tokens + order[i]] = 1;
    }
    return mask;
  };
}

export const dropoutSeed = (seed: number, step: number): number => keyOf(seed, "dropout", step)[0] | 0;
