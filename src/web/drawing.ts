/** One drawing as records of its steps, with what the model expected of every pixel. Knows neither page nor worker. */

import type { ModelConfig } from "../config/model.ts";
import { edit } from "../sample/edit.ts";
import type { Frame, Sampler, WatchedPixels } from "../sample/sampler.ts";
import type { Distribution, DrawRequest, StepRecord } from "./protocol.ts";
import { entropyScale } from "./recording.ts";

/** Steps as they are taken, and the share of all pixels that is drawn; `expected` is filled on the way. */
export async function* drawing(
  sampler: Sampler,
  { edit: given, ...options }: DrawRequest,
  { signal, expected }: { signal: AbortSignal; expected: Expectations },
): AsyncGenerator<{ step: StepRecord; done: number }> {
  let pixels: WatchedPixels | undefined;
  const watch = (watched: WatchedPixels) => {
    pixels = watched;
  };
  const all = { ...options, signal, watch };
  const frames = given ? edit(sampler, given.image, given.mask, all) : sampler.sample(all);
  for await (const frame of frames) {
    yield { step: record(frame, pixels, expected), done: frame.done };
    pixels = undefined;
  }
}

function record(
  { level, step, steps, finished }: Frame,
  pixels: WatchedPixels | undefined,
  expected: Expectations,
): StepRecord {
  const { image, x, y, side } = pixels ? { ...pixels, side: 1 } : finished;
  return {
    level,
    step,
    steps,
    image: Uint16Array.from(image),
    x: Uint16Array.from(x),
    y: Uint16Array.from(y),
    side,
    ...(pixels ? { bytes: Uint8Array.from(pixels.bytes), entropy: expected.add(pixels) } : {}),
  };
}

/** What was expected of each pixel, by its place in [count, S, S]. */
export interface Expectations {
  /** Keeps them; the entropy of each value in 32nds of a bit, as a byte. */
  add(pixels: WatchedPixels): Uint8Array;
  of(image: number, pixel: number): Distribution | undefined;
}

/** In 16 bits each, so 1.5 kB a pixel of three channels. */
const whole = 65535;

export function expectations({ imageSize: size, channels }: ModelConfig, count: number): Expectations {
  const kept = new Uint16Array(count * size * size * channels * 256);
  const drawn = new Int16Array(count * size * size * channels).fill(-1);
  return {
    add({ image, x, y, bytes, probabilities }) {
      const entropies = new Uint8Array(bytes.length);
      image.forEach((of, i) => {
        for (let c = 0; c < channels; c++) {
          const from = i * channels + c;
          const to = ((of * size + y[i]) * size + x[i]) * channels + c;
          const row = probabilities.subarray(from * 256, (from + 1) * 256);
          entropies[from] = Math.min(255, Math.round(entropyScale * entropy(row)));
          drawn[to] = bytes[from];
          for (let v = 0; v < 256; v++) kept[to * 256 + v] = Math.round(row[v] * whole);
        }
      });
      return entropies;
    },
    of(image, pixel) {
      const first = (image * size * size + pixel) * channels;
      if (!(drawn[first] >= 0)) return undefined;
      const probabilities = Float32Array.from(
        kept.subarray(first * 256, (first + channels) * 256),
        (share) => share / whole,
      );
      const each = Array.from({ length: channels }, (_, c) => probabilities.subarray(c * 256, (c + 1) * 256));
      return {
        probabilities,
        entropy: each.map(entropy),
        chance: each.map((row, c) => row[drawn[first + c]]),
      };
    },
  };
}

/** In bits. */
export function entropy(probabilities: Float32Array): number {
  let bits = 0;
  for (const p of probabilities) if (p > 0) bits -= p * Math.log2(p);
  return bits;
}
