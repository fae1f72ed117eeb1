/** Images as a feature network sees them: RGB, slightly shifted or rotated. Knows nothing about networks. */

import { type HostTensor, uint8 } from "../core/arrays.ts";
import { derive, uniform } from "../core/random.ts";
import { stepKey } from "../data/batches.ts";
import { toChannels } from "../data/picture.ts";

/** Bytes [B, S, S, C] one after another, C from 1 to 4. */
export interface Images {
  images: Uint8Array;
  size: number;
  channels: number;
}

export interface Transform {
  /** Clockwise. */
  quarterTurns?: number;
  /** Shift in pixels; the border is repeated. */
  down?: number;
  right?: number;
}

/** Images as RGB bytes [B, S, S, 3], transformed by `transform`; grey is repeated three times, alpha is blended with white. */
export function transformed(
  { images, size, channels }: Images,
  transform: (image: number) => Transform,
): HostTensor<Uint8Array> {
  const count = images.length / (size * size * channels);
  const rgb = toChannels({ data: images, width: size, height: size * count, channels }, 3).data;
  const out = new Uint8Array(rgb.length);
  const last = size - 1;
  const inside = (at: number) => Math.min(last, Math.max(0, at));
  for (let image = 0, to = 0; image < count; image++) {
    const { quarterTurns = 0, down = 0, right = 0 } = transform(image);
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++) {
        let [row, column] = [inside(y - down), inside(x - right)];
        for (let turn = 0; turn < quarterTurns; turn++) [row, column] = [last - column, row];
        const from = ((image * size + row) * size + column) * 3;
        for (let channel = 0; channel < 3; channel++) out[to++] = rgb[from + channel];
      }
  }
  return uint8(out, [count, size, size, 3]);
}

/** The views of a training step's images: shifted by up to an eighth of the side, and rotated at random if that is the task. */
export function trainingTransforms(
  { size, turned }: { size: number; turned: boolean },
  { seed, step }: { seed: number; step: number },
): (image: number) => Required<Transform> {
  const key = stepKey(seed, "views", step);
  const most = Math.floor(size / 8);
  const whole = (image: number, n: number, count: number) => Math.floor(uniform(derive(key, image), n) * count);
  return (image) => ({
    quarterTurns: turned ? whole(image, 0, 4) : 0,
    down: whole(image, 1, 2 * most + 1) - most,
    right: whole(image, 2, 2 * most + 1) - most,
  });
}
