/** The key/value cache of an AR level, on the host or on the device, fed to every step. Knows no graphs. */

import { type DeviceTensor, float32, freeOnDevice, type HostTensor, type Value } from "../core/arrays.ts";

export interface PastOptions {
  /** Blocks of the level. */
  depth: number;
  rows: number;
  heads: number;
  headWidth: number;
  /** Total number of positions. */
  tokens: number;
}

/** A cache on the host, updated in place. */
export interface PastPositions {
  /** Keys and values of each block [rows, heads, L, headWidth], and `seen` [L]; L grows. */
  feeds(): { keys: HostTensor[]; values: HostTensor[]; seen: HostTensor };
  /** Appends the key and value of the next position: [rows, heads, headWidth] for each block. */
  add(next: { key: readonly HostTensor[]; value: readonly HostTensor[] }): void;
}

/** The cache grows by this many positions at a time, because a step reads all of what it is fed, filled or not. */
const piece = 32;

export function pastOf({ depth, rows, heads, headWidth, tokens }: PastOptions): PastPositions {
  const pairs = rows * heads;
  // Allocated at full size: the operating system provides memory pages only when they are first written.
  const rooms = () => Array.from({ length: depth }, () => new Float32Array(pairs * tokens * headWidth));
  const [keys, values] = [rooms(), rooms()];
  let filled = 0;
  let length = Math.min(tokens, piece);
  let seen = unseen();

  function unseen(): Float32Array {
    return new Float32Array(length).fill(-1e30, filled);
  }

  /** Moves each pair's positions apart to make room for more, starting with the last pair. */
  function grow(): void {
    const longer = Math.min(tokens, length + piece);
    const [from, to] = [length * headWidth, longer * headWidth];
    for (const room of [...keys, ...values])
      for (let pair = pairs - 1; pair > 0; pair--) room.copyWithin(pair * to, pair * from, (pair + 1) * from);
    length = longer;
    seen = unseen();
  }

  const used = (room: Float32Array) =>
    float32(room.subarray(0, pairs * length * headWidth), [rows, heads, length, headWidth]);

  /**
   * Copies in a plain loop: creating a view for `set` for each of thousands of pairs takes longer than copying their
   * few values.
   */
  function put(room: Float32Array, { data }: HostTensor): void {
    const one = data as Float32Array;
    for (let from = 0, to = filled * headWidth; from < one.length; to += length * headWidth)
      for (const end = from + headWidth, shift = to - from; from < end; from++) room[from + shift] = one[from];
  }

  return {
    feeds: () => ({ keys: keys.map(used), values: values.map(used), seen: float32(seen, [length]) }),
    add({ key, value }) {
      if (filled === length) grow();
      keys.forEach((room, i) => put(room, key[i]));
      values.forEach((room, i) => put(room, value[i]));
      seen[filled++] = 0;
    },
  };
}

/** A cache on the device, where every run returns a longer one. */
export interface KeptPast {
  /** Keys and values of each block [rows, heads, L, headWidth], and `seen` [L]; L grows by 1 with every position. */
  feeds(): { keys: readonly Value[]; values: readonly Value[]; seen: HostTensor };
  /** Takes the keys of all blocks, followed by the values, in place of those before, which are freed. */
  replace(kept: readonly DeviceTensor[]): void;
  dispose(): void;
}

/** The cache before the first step, which has one empty position, because no tensor may be empty. */
export function keptPast({ depth, rows, heads, headWidth }: Omit<PastOptions, "tokens">): KeptPast {
  const empty = float32(new Float32Array(rows * heads * headWidth), [rows, heads, 1, headWidth]);
  let keys: readonly Value[] = Array.from({ length: depth }, () => empty);
  let values = keys;
  let length = 1;
  const dispose = () => freeOnDevice([...keys, ...values]);
  return {
    feeds: () => ({ keys, values, seen: float32(new Float32Array(length).fill(-1e30, 0, 1), [length]) }),
    replace(kept) {
      dispose();
      keys = kept.slice(0, depth);
      values = kept.slice(depth);
      length = kept[0].shape[2];
    },
    dispose,
  };
}
