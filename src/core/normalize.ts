/** Converts bytes to the values that models see: (byte / 255 - mean) / deviation, per channel. */

/** ImageNet's statistics for colour, as published; their averages for grey; 0.5 and 0.25 for alpha. */
const colour = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
const grey = { mean: [0.449], deviation: [0.226] };
const alpha = { mean: [0.5], deviation: [0.25] };

export interface Normalization {
  mean: number[];
  deviation: number[];
}

/** Means and deviations for 1 (grey), 2 (grey, alpha), 3 (red, green, blue) or 4 (with alpha) channels. */
export function normalization(channels: number): Normalization {
  const base = channels < 3 ? grey : colour;
  const extra = channels % 2 === 0 ? alpha : { mean: [], deviation: [] };
  return { mean: [...base.mean, ...extra.mean], deviation: [...base.deviation, ...extra.deviation] };
}

/** The letters of the channels in the names of codebooks and biases in a checkpoint. */
export const channelLetters = (channels: number): string[] =>
  [["l"], ["l", "a"], ["r", "g", "b"], ["r", "g", "b", "a"]][channels - 1];

/** The normalised value of each channel and byte, computed with the same float32 steps as the published code. */
export function normalizedValues(channels: number): Float32Array {
  const { mean, deviation } = normalization(channels);
  const table = new Float32Array(channels * 256);
  for (let c = 0; c < channels; c++)
    for (let byte = 0; byte < 256; byte++) {
      const centred = Math.fround(Math.fround(byte / 255) - Math.fround(mean[c]));
      table[c * 256 + byte] = centred / Math.fround(deviation[c]);
    }
  return table;
}
