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
  /** `keys.i` and `values.i` [rows, heads, L, headWidth] and `seen` [L]; L grows. */
  feeds(): Record<string, HostTensor>;
  /** Takes `key.i` and `value.i` [rows, heads, headWidth] of the next position. */
  add(outputs: Readonly<Record<string, HostTensor>>): void;
  /** Forgets all positions: for the next squares. */
  clear(): void;
}

/** Room is made for this many positions at a time: what is fed is read whole, filled or not. */
const piece = 32;

export function pastOf({ depth, rows, heads, headWidth, tokens }: PastOptions): PastPositions {
  const pairs = rows * heads;
  const names = Array.from({ length: depth }, (_, i) => [
    { kept: `keys.${i}`, made: `key.${i}` },
    { kept: `values.${i}`, made: `value.${i}` },
  ]).flat();
  const rooms = names.map(() => new Float32Array(pairs * tokens * headWidth)); // the system gives pages as they are filled
  let filled = 0;
  let length = Math.min(tokens, piece);
  let seen = nothingSeen();

  function nothingSeen(): Float32Array {
    return new Float32Array(length).fill(-1e30, filled);
  }

  /** Moves each pair's positions to where they stand with room for more, the last pair first. */
  function grow(): void {
    const longer = Math.min(tokens, length + piece);
    const [from, to] = [length * headWidth, longer * headWidth];
    for (const room of rooms)
      for (let pair = pairs - 1; pair > 0; pair--) room.copyWithin(pair * to, pair * from, (pair + 1) * from);
    length = longer;
    seen = nothingSeen();
  }

  return {
    feeds() {
      const feeds: Record<string, HostTensor> = { seen: float32(seen, [length]) };
      names.forEach(({ kept }, i) => {
        const used = rooms[i].subarray(0, pairs * length * headWidth);
        feeds[kept] = float32(used, [rows, heads, length, headWidth]);
      });
      return feeds;
    },
    add(outputs) {
      if (filled === length) grow();
      names.forEach(({ made }, i) => {
        const one = outputs[made].data as Float32Array;
        const room = rooms[i];
        // Not by `set`: a view for each of thousands of pairs takes longer than their few values.
        for (let from = 0, to = filled * headWidth; from < one.length; to += length * headWidth)
          for (const end = from + headWidth, shift = to - from; from < end; from++) room[from + shift] = one[from];
      });
      seen[filled++] = 0;
    },
    clear() {
      filled = 0;
      length = Math.min(tokens, piece);
      seen = nothingSeen();
    },
  };
}
