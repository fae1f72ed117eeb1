/** How visible the border of a drawn part of an image is. Knows nothing about models. */

export interface Seam {
  /** Mean absolute difference of neighbouring values, in bytes: across the border of the drawn part, and inside the drawn part. */
  across: number;
  inside: number;
}

/**
 * The seam of an image [S, S, C] with a mask [S, S] that is 1 at drawn pixels. Neighbours are horizontal and vertical pairs; a pair
 * is across the border if one of the two was drawn. 0 if there are no such pairs.
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

/** The sum of `values` divided by the sum of `others`, with one of each per image, and its standard error to first order. */
export function ratioOf(values: readonly number[], others: readonly number[]): { ratio: number; error: number } {
  const sum = (of: readonly number[]) => of.reduce((a, b) => a + b, 0);
  const ratio = sum(values) / sum(others);
  const count = values.length;
  const squares = sum(values.map((value, i) => (value - ratio * others[i]) ** 2));
  return { ratio, error: count > 1 ? Math.sqrt((squares * count) / (count - 1)) / sum(others) : 0 };
}
