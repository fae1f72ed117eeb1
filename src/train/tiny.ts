/** A model and a data set small enough for tests to train in a second. */

import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { type Dataset, splitOf } from "../data/dataset.ts";
import { type Starting, startingState, type TrainingState } from "./state.ts";

/**
 * 8x8 pixels in 4 patches of 4x4, then pixels. The network of a guiding pixel has the published size, 28 times as many
 * parameters as the rest: with it, a short training takes three times as long.
 */
export const tinyModel = ({ guidingPixel = false } = {}): ModelConfig =>
  parseModelConfig(
    {
      imageSize: 8,
      classes: ["dark", "light"],
      levels: [
        { kind: "mar", patch: 4, width: 16, depth: 1, heads: 2 },
        { kind: "mar", patch: 1, width: 16, depth: 1, heads: 2, guidingPixel },
        { kind: "pixel", width: 16, depth: 1, heads: 2 },
      ],
    },
    "the tiny model",
  );

/** Images of one colour each, alternately dark and light. */
export function tinyDataset(): Dataset {
  return { ...tinyContent, train: splitOf(tinyImages(6)), heldOut: splitOf(tinyImages(2)) };
}

/**
 * The same with images whose left half has one colour and whose right half is noise, except the last, which has only one
 * colour: patches differ in their detail.
 */
export const detailedDataset = (): Dataset => ({
  ...tinyContent,
  train: splitOf(detailedImages(6)),
  heldOut: splitOf(detailedImages(2)),
});

/** The bytes, labels and names of these images. */
export function detailedImages(count: number): ReturnType<typeof tinyImages> {
  const { images, ...rest } = tinyImages(count);
  const noise = (i: number) => i < (count - 1) * 192 && Math.floor(i / 3) % 8 >= 4;
  return { ...rest, images: images.map((byte, i) => (noise(i) ? (i * 2654435761) >>> 24 : byte)) };
}

/** Everything in the tiny data set except its images. */
export const tinyContent = {
  name: "tiny",
  source: "tiny",
  classes: ["dark", "light"],
  size: 8,
  channels: 3,
  skipped: [],
  notes: [],
  fingerprint: "tiny",
};

/** The bytes, labels and names of a split, for tests that change them. */
export const tinyImages = (count: number) => ({
  images: Uint8Array.from({ length: count * 192 }, (_, i) => (Math.floor(i / 192) % 2 === 0 ? 30 : 220)),
  labels: Int32Array.from({ length: count }, (_, i) => i % 2),
  names: Array.from({ length: count }, (_, i) => `tiny/${i}`),
});

/** A state in which every number encodes its step and part, so that a mixture of two states can be detected. */
export function markedState(model: ModelConfig, step: number, starting: Starting): TrainingState {
  const { ema } = starting;
  const state = startingState(model, 0, starting);
  state.step = step;
  for (const data of state.values.values()) data.fill(step);
  if (ema > 0) for (const data of state.average.values()) data.fill(step + 0.25);
  for (const { first, second } of state.moments.values()) {
    first.fill(step + 0.5);
    second?.fill(step + 0.75);
  }
  return state;
}
