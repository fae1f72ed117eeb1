/** Keys and values of an AR level's earlier positions, kept where they are and fed to every step. Knows no graphs. */

import { float32, type HostTensor } from "../core/arrays.ts";

export interface PastOptions {
  /** Blocks of the level. */
  depth: number;
  rows: number;
  heads: number;
  headWidth: number;
  /** Positions in all. */
  tokens: number;
}

export interface PastPositions {
  /** `keys.i` [rows, heads, headWidth, L], `values.i` [rows, heads, L, headWidth] and `seen` [L]; L grows. */
  feeds(): Record<string, HostTensor>;
  /** Takes `key.i` and `value.i` [rows, heads, headWidth] of the next position. */
  add(outputs: Readonly<Record<string, HostTensor>>): void;
}

/** Room is made for this many positions at a time: what is fed is read whole, filled or not. */
const piece = 32;

export function pastOf({ depth, rows, heads, headWidth, tokens }: PastOptions): PastPositions {
  const pairs = rows * heads;
  let length = 0;
  let filled = 0;
  let keys: Float32Array[] = [];
  let values: Float32Array[] = [];
  grow();

  function grow(): void {
    const longer = Math.min(tokens, length + piece);
    const room = () => new Float32Array(pairs * headWidth * longer);
    keys = Array.from({ length: depth }, (_, i) => {
      const all = room();
      for (let line = 0; line < pairs * headWidth; line++)
        if (length > 0) all.set(keys[i].subarray(line * length, (line + 1) * length), line * longer);
      return all;
    });
    values = Array.from({ length: depth }, (_, i) => {
      const all = room();
      const line = length * headWidth;
      for (let pair = 0; pair < pairs; pair++)
        if (length > 0) all.set(values[i].subarray(pair * line, (pair + 1) * line), pair * longer * headWidth);
      return all;
    });
    length = longer;
  }

  return {
    feeds() {
      const seen = new Float32Array(length).fill(-1e30, filled);
      const feeds: Record<string, HostTensor> = { seen: float32(seen, [length]) };
      for (let i = 0; i < depth; i++) {
        feeds[`keys.${i}`] = float32(keys[i], [rows, heads, headWidth, length]);
        feeds[`values.${i}`] = float32(values[i], [rows, heads, length, headWidth]);
      }
      return feeds;
    },
    add(outputs) {
      if (filled === length) grow();
      for (let i = 0; i < depth; i++) {
        const key = outputs[`key.${i}`].data as Float32Array;
        const value = outputs[`value.${i}`].data as Float32Array;
        for (let j = 0; j < key.length; j++) keys[i][j * length + filled] = key[j];
        for (let pair = 0; pair < pairs; pair++)
          values[i].set(value.subarray(pair * headWidth, (pair + 1) * headWidth), (pair * length + filled) * headWidth);
      }
      filled++;
    },
  };
}
