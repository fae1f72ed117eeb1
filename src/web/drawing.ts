/** One drawing as a sequence of step records, with the model's expectation for every pixel. Independent of page and worker. */

import type { ModelConfig } from "../config/model.ts";
import { edit } from "../sample/edit.ts";
import type { Frame, Sampler, WatchedPixels } from "../sample/sampler.ts";
import type { Distribution, DrawRequest, StepRecord } from "./protocol.ts";
import { entropyScale } from "./recording.ts";

/** Yields each step and the fraction of all pixels drawn so far. Fills `expected` along the way. */
export async function* drawing(
  sampler: Sampler,
  { edit: given, first, labels, ...options }: DrawRequest,
  { signal, expected }: { signal: AbortSignal; expected: Expectations },
): AsyncGenerator<{ step: StepRecord; done: number }> {
  const all = labels.map((_, image) => image);
  const parts = first === undefined || labels.length < 2 ? [all] : [[first], all.filter((image) => image !== first)];
  let before = 0;
  for (const images of parts) {
    let pixels: WatchedPixels | undefined;
    const watch = (watched: WatchedPixels) => {
      pixels = { ...watched, image: watched.image.map((image) => images[image]) };
    };
    const part = { ...options, labels: images.map((image) => labels[image]), indices: images, signal, watch };
    const frames = given ? edit(sampler, given.image, given.mask, { ...part, ring: given.ring }) : sampler.sample(part);
    let at = 0;
    for await (const frame of frames) {
      const step = { ...record(frame, { images, pixels, expected }), at: at++ };
      yield { step, done: before + (frame.done * images.length) / labels.length };
      pixels = undefined;
    }
    before += images.length / labels.length;
  }
}

/** `images` maps the frame's images to their numbers among all images; `pixels` already use those numbers. */
function record(
  { level, step, steps, finished }: Frame,
  { images, pixels, expected }: { images: readonly number[]; pixels?: WatchedPixels; expected: Expectations },
): StepRecord {
  const { image, x, y, side } = pixels
    ? { ...pixels, side: 1 }
    : { ...finished, image: finished.image.map((one) => images[one]) };
  return {
    level,
    step,
    steps,
    image: Uint16Array.from(image),
    x: Uint16Array.from(x),
    y: Uint16Array.from(y),
    side,
    ...(pixels ? { bytes: Uint8Array.from(pixels.bytes), ...expected.add(pixels) } : {}),
  };
}

/** The model's expectation for each pixel in [count, S, S]. */
export interface Expectations {
  /** Stores the distributions. Returns each value's entropy in 32nds of a bit, as a byte, and -log2 of its probability. */
  add(pixels: WatchedPixels): { entropy: Uint8Array; bits: Float32Array };
  of(image: number, pixel: number): Distribution | undefined;
}

/** Probabilities are stored in 16 bits, so a pixel of three channels takes 1.5 kB. */
const whole = 65535;

export function expectations({ imageSize: size, channels }: ModelConfig, count: number): Expectations {
  const kept = new Uint16Array(count * size * size * channels * 256);
  const drawn = new Int16Array(count * size * size * channels).fill(-1);
  return {
    add({ image, x, y, bytes, probabilities }) {
      const entropies = new Uint8Array(bytes.length);
      const bits = new Float32Array(bytes.length);
      image.forEach((of, i) => {
        for (let c = 0; c < channels; c++) {
          const from = i * channels + c;
          const to = ((of * size + y[i]) * size + x[i]) * channels + c;
          const row = probabilities.subarray(from * 256, (from + 1) * 256);
          entropies[from] = Math.min(255, Math.round(entropyScale * entropy(row)));
          bits[from] = -Math.log2(Math.max(row[bytes[from]], 1e-30));
          drawn[to] = bytes[from];
          for (let v = 0; v < 256; v++) kept[to * 256 + v] = Math.round(row[v] * whole);
        }
      });
      return { entropy: entropies, bits };
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

/** The entropy in bits. */
export function entropy(probabilities: Float32Array): number {
  let bits = 0;
  for (const p of probabilities) if (p > 0) bits -= p * Math.log2(p);
  return bits;
}
