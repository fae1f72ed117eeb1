/**
 * Randomness as a value: a 64-bit key yields any number of independent draws, addressed by number, and further keys.
 * There is no global state, so the same key gives the same draws on every machine and in every order.
 */

export type Key = readonly [number, number];

/** The 32-bit finaliser of murmur3: every input bit changes half of the output bits. */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * The key of a part: the draws of `derive(key, 3)` are independent of those of `derive(key, 4)` and of `key` itself.
 */
export function derive([a, b]: Key, part: number): Key {
  const first = mix(a + Math.imul(part + 1, 0x9e3779b1));
  const second = mix((b ^ first) + Math.imul(part + 1, 0x7f4a7c15));
  return [mix(first ^ second), second];
}

/** The key of a seed (any whole number up to 2^53). */
export const seedKey = (seed: number): Key => derive([seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0], 0);

/** 32 random bits; the n-th draw of this key. */
export const bits = ([a, b]: Key, n: number): number => mix(mix(a + Math.imul(n, 0x9e3779b1)) ^ b);

/** Uniform in [0, 1), a multiple of 2^-24 and so exact in float32; the n-th draw of this key. */
export const uniform = (key: Key, n: number): number => (bits(key, n) >>> 8) / 2 ** 24;

/** Standard normal by the Box-Muller transform; the n-th draw of this key. */
export function normal(key: Key, n: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - uniform(key, 2 * n)));
  return radius * Math.cos(2 * Math.PI * uniform(key, 2 * n + 1));
}

/** A random order of 0 .. count - 1. */
export function permutation(key: Key, count: number): Int32Array {
  const order = new Int32Array(count).map((_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    // Multiply and keep the high part: the bias is below count / 2^32.
    const j = Math.floor((bits(key, i) / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
