/**
 * Chooses and augments the images of a training step. Like everything random in a step, this depends only on (seed,
 * step).
 */

import type { Augmentation, TrainingConfig } from "../config/training.ts";
import { derive, type Key, seedKey, uniform } from "../core/random.ts";
import { changed, changeOf } from "./augment.ts";
import { type Dataset, epochOrder, type Split } from "./dataset.ts";

/** The random streams of a training step: one for each purpose, so that none depends on another. */
const streams = {
  labels: 2,
  masks: 3,
  flips: 4,
  balance: 5,
  dropout: 6,
  views: 8,
  shares: 9,
  shifts: 10,
  hues: 11,
} as const;

/** The key of one stream at one step. */
export const stepKey = (seed: number, stream: keyof typeof streams, step: number): Key =>
  derive(derive(seedKey(seed), streams[stream]), step);

/**
 * Draws a step's images, bytes [B, S, S, C], and their labels [B]; a dropped label is the number of classes. Each epoch
 * visits the images in a new order; with `balance`, images are drawn by class weight instead.
 */
export function batchSource(
  { train, classes, size, channels, augmentable }: Dataset,
  config: TrainingConfig,
): (step: number) => { images: Uint8Array; labels: Int32Array } {
  const { batch, seed, labelDrop, augment, balance } = config;
  const pick = balance > 0 ? balancedPick(train, classes.length, config) : epochPick(train, config);
  const bytes = size * size * channels;
  return (step) => {
    const images = new Uint8Array(bytes * batch);
    const labels = new Int32Array(batch);
    const keys = {
      shift: stepKey(seed, "shifts", step),
      flip: stepKey(seed, "flips", step),
      hue: stepKey(seed, "hues", step),
    };
    for (let i = 0; i < batch; i++) {
      const index = pick(step * batch + i);
      const label = train.labels[index];
      const allowed = (way: Augmentation) => way === "shift" || (augmentable?.[way][label] ?? true);
      const change = changeOf(augment, keys, { index: i, allowed });
      images.set(changed(train.image(index), change, { size, channels }), i * bytes);
      labels[i] = uniform(stepKey(seed, "labels", step), i) < labelDrop ? classes.length : label;
    }
    return { images, labels };
  };
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
    const target = uniform(stepKey(seed, "balance", n), 0) * total;
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
