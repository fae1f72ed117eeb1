/**
 * The order in which a level generates the patches of a square. It determines what a teacher-forced pass hides and
 * predicts, in training and for the likelihood. The built-in kinds use these two orders; a new kind may define its own.
 */

import { type Key, normal, permutation, uniform } from "../core/random.ts";

/** The share of patches that training hides: a normal distribution truncated to [0, 1]. */
export interface MaskRate {
  maskRate: number;
  maskRateDeviation: number;
}

/** A square in a teacher-forced pass of the likelihood. */
export interface Viewed {
  key: Key;
  tokens: number;
  /** Its weight in the likelihood. */
  weight: number;
  /** The patches to predict, if not all. */
  only?: readonly number[];
  /** In a pass that corresponds to one step of generating patch by patch: how many patches are still to come. */
  toCome?: number;
}

/** What one pass hides and predicts. */
export interface OrderView {
  /** The hidden patches. */
  hidden: Int32Array;
  /** The patches that this pass predicts: each with its weight and how many patches are known before it. */
  predicted: { place: number; weight: number; known: number }[];
}

/** A mask that an order cannot follow. */
export interface Stuck {
  /** The first patch that breaks the order. */
  patch: number;
  /** What the order requires of a mask: the end of a sentence about a level that has this order. */
  rule: string;
}

/** An order of generation: what training and the likelihood hide, and how many steps it takes. */
export interface Order {
  /** The order in words, such as "raster order, one patch per step". */
  words: string;
  /**
   * Whether a teacher-forced pass hides some patches with a mask and predicts them from the visible ones. If not, one
   * pass predicts every patch from the patches before it, and the likelihood is exact.
   */
  hides: boolean;
  /** Which patches training hides in a square: 1 or 0 each. Not called if `hides` is false. */
  trainingMask(key: Key, tokens: number, rate: MaskRate): Uint8Array;
  /** How many passes it takes to predict `count` patches of a square once each, in one order of generation. */
  passes(count: number): number;
  /** What a pass of the likelihood hides in a square, and what it predicts. */
  view(square: Viewed): OrderView;
  /** Given which patches are to be drawn, where the order cannot follow; undefined if it can. */
  stuckAt(drawn: readonly boolean[]): Stuck | undefined;
  /** Steps that a square takes if `iterations` are requested. */
  steps(tokens: number, iterations: number): number;
  /** The most patches of a square that one of these steps draws. */
  mostAtOnce(tokens: number, iterations: number): number;
}

/** Raster order, one patch at a time. */
export const rasterOrder: Order = {
  words: "raster order, one patch per step",
  hides: false,
  trainingMask: (_, tokens) => new Uint8Array(tokens).fill(1),
  passes: () => 1,
  view({ tokens, weight, only }) {
    // All patches go down in the graph; known ones have no weight.
    const places = Array.from({ length: tokens }, (_, place) => place);
    const counts = (place: number) => !only || only.includes(place);
    const predicted = places.map((place) => ({ place, weight: counts(place) ? weight : 0, known: place }));
    return { hidden: new Int32Array(0), predicted };
  },
  stuckAt(drawn) {
    const first = drawn.indexOf(true);
    const patch = first < 0 ? -1 : drawn.indexOf(false, first);
    if (patch < 0) return undefined;
    const rule = "draws in raster order, so the mask must keep an upper part and redraw everything after it";
    return { patch, rule };
  },
  steps: (tokens) => tokens,
  mostAtOnce: () => 1,
};

/** In any order, several patches at a time. */
export const anyOrder: Order = {
  words: "any order, several patches per step",
  hides: true,
  trainingMask(key, tokens, { maskRate, maskRateDeviation }) {
    // A normal centred on an end of [0, 1] is symmetric about it, so its outer half can be folded onto the inner one.
    const folded = (z: number) => (maskRate === 1 ? -Math.abs(z) : maskRate === 0 ? Math.abs(z) : z);
    let rate = -1;
    for (let n = 0; rate < 0 || rate > 1; n++) rate = maskRate + maskRateDeviation * folded(normal(key, 1_000_000 + n));
    const mask = new Uint8Array(tokens);
    for (const patch of permutation(key, tokens).subarray(0, Math.max(1, Math.ceil(tokens * rate)))) mask[patch] = 1;
    return mask;
  },
  passes: (count) => count,
  view({ key, tokens, weight, only, toCome }) {
    let order = permutation(key, tokens);
    if (only && only.length > 0) order = order.filter((place) => only.includes(place)); // known patches are never hidden
    const masked = toCome ?? 1 + Math.floor(uniform(key, 1_000_000) * tokens);
    const hidden = order.subarray(0, masked);
    const known = tokens - masked;
    const predicted =
      toCome === undefined
        ? Array.from(hidden.toSorted(), (place) => ({ place, weight: (weight * tokens) / masked, known }))
        : [{ place: order[masked - 1], weight, known }];
    return { hidden, predicted };
  },
  stuckAt: () => undefined,
  steps: (tokens, iterations) => Math.min(tokens, iterations),
  mostAtOnce(tokens, iterations) {
    const steps = Math.min(tokens, iterations);
    let [masked, most] = [tokens, 0];
    for (let step = 0; step < steps; step++) {
      const until = step === steps - 1 ? 0 : maskedAfter(step, steps, tokens, masked);
      most = Math.max(most, masked - until);
      masked = until;
    }
    return most;
  },
};

/** Patches still masked after step s of n, of N in all: floor(N cos(pi/2 (s + 1) / n)), 1 to masked - 1. */
export const maskedAfter = (step: number, steps: number, tokens: number, masked: number): number =>
  Math.max(1, Math.min(masked - 1, Math.floor(tokens * Math.cos(((Math.PI / 2) * (step + 1)) / steps))));
