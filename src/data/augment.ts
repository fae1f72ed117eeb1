/** Random changes to training images that preserve their content: shifts, horizontal flips, hue rotations. */

import type { Augmentation } from "../config/training.ts";
import { type Key, uniform } from "../core/random.ts";

/** The changes to one image. */
export interface Change {
  /** Pixels to the right and down. */
  shift: readonly [right: number, down: number];
  mirror: boolean;
  /** Rotation on the colour circle in radians. */
  hue: number;
}

/** The largest hue rotation in either direction. */
const hueMost = (10 / 180) * Math.PI;

/** One random stream for each augmentation, so that none depends on another. */
export type AugmentationKeys = Record<Augmentation, Key>;

/** Draws the changes to the `index`-th image of a step, using those `ways` that `allowed` permits. */
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

/**
 * Applies a change to an image [size, size, channels]; returns the same array if nothing changes. A shift repeats the
 * edge.
 */
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
 * Rotates colours around the grey axis at constant luma, like SVG's `hueRotate`: every row sums to one, so white, grey
 * and black are unchanged. A fourth channel is alpha and is unchanged, too.
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
