/** Mean likelihoods of images with their standard errors. */

/** One image's bits per dimension: of all values, by channel, and the additional bits of guiding pixels. */
export interface Scored {
  name: string;
  class: string;
  bits: number;
  channels: number[];
  guiding: number;
}

/** A mean with its standard error. */
export interface Mean {
  bits: number;
  /** The standard error of the mean; 0 for a single image, which has none. */
  error: number;
  count: number;
}

/** Bits per dimension of many images, overall, by channel and by class. */
export interface Summary extends Mean {
  channels: Mean[];
  classes: Record<string, Mean>;
  /** Mean bits per dimension of guiding pixels. */
  guiding: number;
}

/** Means over all images, for each channel, and for each class in order of names. */
export function summaryOf(scored: readonly Scored[]): Summary {
  const names = [...new Set(scored.map((one) => one.class))].sort();
  return {
    ...meanOf(scored.map(({ bits }) => bits)),
    channels: scored[0].channels.map((_, c) => meanOf(scored.map(({ channels }) => channels[c]))),
    classes: Object.fromEntries(
      names.map((name) => [name, meanOf(scored.filter((one) => one.class === name).map(({ bits }) => bits))]),
    ),
    guiding: meanOf(scored.map(({ guiding }) => guiding)).bits,
  };
}

/** The mean of values and its standard error, 0 for a single value. */
export function meanOf(values: readonly number[]): Mean {
  const count = values.length;
  const bits = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - bits) ** 2, 0);
  return { bits, error: count > 1 ? Math.sqrt(squares / (count - 1) / count) : 0, count };
}
