/**
 * ADM's centre crop, byte for byte as Pillow computes it. Knows nothing of files or colours, only of channels.
 * Resamples with fixed-point coefficients like Pillow's Resample.c: a horizontal pass, then a vertical one, each
 * rounded to bytes.
 */

/** [height, width, channels] bytes; with an even number of channels, the last is alpha. */
export interface Pixels {
  data: Uint8Array;
  width: number;
  height: number;
  channels: number;
}

/**
 * Crops the largest centred square to `size` pixels per side: halves with a box filter while the result has at least
 * `size` pixels, then resizes bicubically to `size`. An image that already has the size is returned unchanged.
 */
export function centerCrop(image: Pixels, size: number): Pixels {
  const shorter = Math.min(image.width, image.height);
  if (shorter < size) throw new Error(`centerCrop: ${image.width}x${image.height} is smaller than ${size}`);
  if (image.width === size && image.height === size) return image;
  const opaque = image.channels % 2 === 1;
  let scaled = image;
  const resize = (to: Size, filter: Filter) => {
    if (to.width === scaled.width && to.height === scaled.height) return;
    // Colours are premultiplied by alpha, so that hidden colours of transparent pixels do not bleed into their
    // neighbours.
    scaled = opaque ? resample(scaled, to, filter) : divided(resample(multiplied(scaled), to, filter));
  };
  while (Math.min(scaled.width, scaled.height) >= 2 * size)
    resize({ width: scaled.width >> 1, height: scaled.height >> 1 }, box);
  const scale = size / Math.min(scaled.width, scaled.height);
  resize({ width: roundHalfEven(scaled.width * scale), height: roundHalfEven(scaled.height * scale) }, bicubic);
  return cut(scaled, size);
}

interface Size {
  width: number;
  height: number;
}

interface Filter {
  support: number;
  weight: (x: number) => number;
}

const box: Filter = { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };

/** Keys' cubic with a = -1/2. */
const bicubic: Filter = {
  support: 2,
  weight: (signed) => {
    const x = Math.abs(signed);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  },
};

/** Fraction bits of a coefficient: 32 minus 8 for a byte and 2 for sums below 0 and above 255. */
const precision = 22;

/** For each output position: its first tap, the number of taps, and their coefficients, `stride` apart. */
interface Taps {
  first: Int32Array;
  count: Int32Array;
  coefficients: Int32Array;
  stride: number;
}

function taps(from: number, to: number, { support, weight }: Filter): Taps {
  const scale = from / to;
  const filterScale = Math.max(1, scale);
  const reach = support * filterScale;
  const stride = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const coefficients = new Int32Array(to * stride);
  // Multiplies by the inverse like the original: the last bit of a weight can change a coefficient.
  const inverse = 1 / filterScale;
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * scale;
    first[i] = Math.max(0, Math.trunc(center - reach + 0.5));
    count[i] = Math.min(from, Math.trunc(center + reach + 0.5)) - first[i];
    const weights = Array.from({ length: count[i] }, (_, x) => weight((x + first[i] - center + 0.5) * inverse));
    const sum = weights.reduce((a, b) => a + b, 0);
    weights.forEach((value, x) => {
      const scaled = (sum === 0 ? value : value / sum) * (1 << precision);
      coefficients[i * stride + x] = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    });
  }
  return { first, count, coefficients, stride };
}

function resample(image: Pixels, { width, height }: Size, filter: Filter): Pixels {
  const { channels } = image;
  let { data } = image;
  const { width: from, height: rows } = image;
  if (width !== from) data = pass(data, { lines: rows, from, to: width, inner: channels, filter });
  if (height !== rows) data = pass(data, { lines: 1, from: rows, to: height, inner: width * channels, filter });
  return { data, width, height, channels };
}

interface Pass {
  lines: number;
  from: number;
  to: number;
  inner: number;
  filter: Filter;
}

/** Resamples the middle axis: [lines, from, inner] to [lines, to, inner]. */
function pass(data: Uint8Array, { lines, from, to, inner, filter }: Pass): Uint8Array {
  const { first, count, coefficients, stride } = taps(from, to, filter);
  // Clamped, because a bicubic sum can leave the range of a byte.
  const out = new Uint8ClampedArray(lines * to * inner);
  for (let line = 0; line < lines; line++)
    for (let i = 0; i < to; i++) {
      const start = (line * from + first[i]) * inner;
      const target = (line * to + i) * inner;
      for (let c = 0; c < inner; c++) {
        let sum = 1 << (precision - 1);
        for (let x = 0, at = start + c; x < count[i]; x++, at += inner) sum += data[at] * coefficients[i * stride + x];
        out[target + c] = sum >> precision;
      }
    }
  return new Uint8Array(out.buffer);
}

function cut({ data, width, height, channels }: Pixels, size: number): Pixels {
  const top = (height - size) >> 1;
  const left = (width - size) >> 1;
  const out = new Uint8Array(size * size * channels);
  for (let y = 0; y < size; y++) {
    const start = ((top + y) * width + left) * channels;
    out.set(data.subarray(start, start + size * channels), y * size * channels);
  }
  return { data: out, width: size, height: size, channels };
}

/** a b / 255, rounded, in integer arithmetic. */
export function timesByte(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

const multiplied = (image: Pixels): Pixels => withAlpha(image, (value, alpha) => timesByte(value, alpha));

const divided = (image: Pixels): Pixels =>
  withAlpha(image, (value, alpha) =>
    alpha === 0 || alpha === 255 ? value : Math.min(255, Math.trunc((255 * value) / alpha)),
  );

function withAlpha(image: Pixels, change: (value: number, alpha: number) => number): Pixels {
  const { channels } = image;
  const data = image.data.slice();
  for (let at = 0; at < data.length; at += channels) {
    const alpha = data[at + channels - 1];
    for (let c = 0; c < channels - 1; c++) data[at + c] = change(data[at + c], alpha);
  }
  return { ...image, data };
}

/** Rounds halves to the even neighbour, like Python. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
