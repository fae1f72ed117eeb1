/** How much a drawn part of an image stands out at its border. Knows no models. */

export interface Seam {
  /** Mean absolute difference of neighbouring values, in bytes: across the border of the drawn part, and inside of it. */
  across: number;
  inside: number;
}

/**
 * Of an image [S, S, C] and a mask [S, S], 1 where it was drawn: neighbours stand beside or below each other; across the
 * border are those of which one was drawn. 0 where there are none.
 */
export function seamOf(
  image: Uint8Array,
  mask: Uint8Array,
  { size, channels }: { size: number; channels: number },
): Seam {
  const sums = [0, 0];
  const pairs = [0, 0];
  const add = (one: number, other: number) => {
    const kind = mask[one] + mask[other]; // 1 across the border, 2 inside
    if (kind === 0) return;
    for (let c = 0; c < channels; c++)
      sums[kind - 1] += Math.abs(image[one * channels + c] - image[other * channels + c]);
    pairs[kind - 1] += channels;
  };
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const at = y * size + x;
      if (x + 1 < size) add(at, at + 1);
      if (y + 1 < size) add(at, at + size);
    }
  const [across, inside] = sums.map((sum, i) => (pairs[i] === 0 ? 0 : sum / pairs[i]));
  return { across, inside };
}

/** The sum of `values` over that of `others`, one of each for an image, with its standard error to first order. */
export function ratioOf(values: readonly number[], others: readonly number[]): { ratio: number; error: number } {
  const sum = (of: readonly number[]) => of.reduce((a, b) => a + b, 0);
  const ratio = sum(values) / sum(others);
  const count = values.length;
  const squares = sum(values.map((value, i) => (value - ratio * others[i]) ** 2));
  return { ratio, error: count > 1 ? Math.sqrt((squares * count) / (count - 1)) / sum(others) : 0 };
}
