/** Random changes to training images that leave what they show: shifts, mirror images, turned hues. Draws nothing. */

import type { Augmentation } from "../config/training.ts";
import { type Key, uniform } from "../core/random.ts";

/** What happens to one image. */
export interface Change {
  /** Pixels to the right and down. */
  shift: readonly [right: number, down: number];
  mirror: boolean;
  /** Radians on the colour circle. */
  hue: number;
}

/** The most that a hue is turned, either way. */
const hueMost = (10 / 180) * Math.PI;

/** A stream of draws for each way to augment, so that none depends on another. */
export type AugmentationKeys = Record<Augmentation, Key>;

/** What happens to the `index`-th image of a step: of the given ways, those that `allowed` does not rule out. */
export function changeOf(
  ways: readonly Augmentation[],
  keys: AugmentationKeys,
  { index, allowed }: { index: number; allowed: (way: Augmentation) => boolean },
): Change {
  const does = (way: Augmentation) => ways.includes(way) && allowed(way);
  const step = (n: number) => Math.floor(3 * uniform(keys.shift, n)) - 1;
  return {
    shift: does("shift") ? [step(2 * index), step(2 * index + 1)] : [0, 0],
    mirror: does("flip") && uniform(keys.flip, index) < 0.5,
    hue: does("hue") ? hueMost * (2 * uniform(keys.hue, index) - 1) : 0,
  };
}

/** An image [size, size, channels] as changed; itself where nothing is. Pixels that a shift uncovers repeat the edge. */
export function changed(
  image: Uint8Array,
  { shift: [right, down], mirror, hue }: Change,
  { size, channels }: { size: number; channels: number },
): Uint8Array {
  const moved = mirror || right !== 0 || down !== 0;
  const turned = hue !== 0 && channels >= 3;
  if (!moved && !turned) return image;
  const out = moved ? new Uint8Array(image.length) : image.slice();
  if (moved)
    for (let row = 0; row < size; row++)
      for (let column = 0; column < size; column++) {
        const from = within(column - right, size);
        const at = within(row - down, size) * size + (mirror ? size - 1 - from : from);
        out.set(image.subarray(at * channels, (at + 1) * channels), (row * size + column) * channels);
      }
  if (turned) turnHue(out, hue, channels);
  return out;
}

const within = (place: number, size: number): number => Math.min(size - 1, Math.max(0, place));

/**
 * Turns colours around the grey axis with their luma kept, as SVG's `hueRotate` does: every row sums to one, so white,
 * grey and black stay as they are. A fourth channel is opacity and stays too.
 */
function turnHue(image: Uint8Array, angle: number, channels: number): void {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const rows = [
    [0.213 + 0.787 * cos - 0.213 * sin, 0.715 - 0.715 * cos - 0.715 * sin, 0.072 - 0.072 * cos + 0.928 * sin],
    [0.213 - 0.213 * cos + 0.143 * sin, 0.715 + 0.285 * cos + 0.14 * sin, 0.072 - 0.072 * cos - 0.283 * sin],
    [0.213 - 0.213 * cos - 0.787 * sin, 0.715 - 0.715 * cos + 0.715 * sin, 0.072 + 0.928 * cos + 0.072 * sin],
  ];
  for (let at = 0; at < image.length; at += channels) {
    const [red, green, blue] = image.subarray(at, at + 3);
    if (red === green && green === blue) continue;
    rows.forEach(([r, g, b], channel) => {
      image[at + channel] = Math.min(255, Math.max(0, Math.round(r * red + g * green + b * blue)));
    });
  }
}
