/**
 * The order in which a level generates the patches of a square: what a teacher-forced pass hides and predicts, in training
 * and for the likelihood. The kinds that ship use these two orders; a new kind may define its own.
 */

import { type Key, normal, permutation, uniform } from "../core/random.ts";

/** The share of patches that training hides: a normal distribution cut to [0, 1]. */
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
  /** The patches to predict, where those are not all. */
  only?: readonly number[];
  /** In a pass that stands for one step of generating patch by patch: how many patches are still to come. */
  toCome?: number;
}

/** What one pass hides and predicts. */
export interface View {
  /** The hidden patches. */
  hidden: Int32Array;
  /** The patches that this pass predicts: each with its weight and how many patches are known before it. */
  predicted: { place: number; weight: number; known: number }[];
}

/** An order of generation: what training and the likelihood hide, and how many steps it takes. */
export interface Order {
  /**
   * Whether a teacher-forced pass hides some patches, by a mask, and predicts those from what it shows. Otherwise one
   * pass predicts every patch from those before it, and its likelihood is exact.
   */
  hides: boolean;
  /** Which patches training hides in a square: 1 or 0 each. Not called where `hides` is false. */
  trainingMask(key: Key, tokens: number, rate: MaskRate): Uint8Array;
  /** How many passes predict `count` patches of a square once each, in one order of generation. */
  passes(count: number): number;
  /** What a pass of the likelihood hides in a square, and what it predicts. */
  view(square: Viewed): View;
  /** The first patch at which generation cannot follow, given which patches are to be drawn; -1 where it can. */
  stuckAt(drawn: readonly boolean[]): number;
  /** Steps that a square takes where `iterations` are asked for. */
  steps(tokens: number, iterations: number): number;
  /** The most patches of a square that one of these steps draws. */
  mostAtOnce(tokens: number, iterations: number): number;
}

/** Patch by patch, from the upper left to the lower right. */
export const rasterOrder: Order = {
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
    return first < 0 ? -1 : drawn.indexOf(false, first);
  },
  steps: (tokens) => tokens,
  mostAtOnce: () => 1,
};

/** In any order, several patches at a time. */
export const anyOrder: Order = {
  hides: true,
  trainingMask(key, tokens, { maskRate, maskRateDeviation }) {
    // Around one end of [0, 1] a normal has the same shape inside and outside: both halves can be taken as the inner one.
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
    if (only && only.length > 0) order = order.filter((place) => only.includes(place)); // known patches come first in the order
    const masked = toCome ?? 1 + Math.floor(uniform(key, 1_000_000) * tokens);
    const hidden = order.subarray(0, masked);
    const known = tokens - masked;
    const predicted =
      toCome === undefined
        ? Array.from(hidden.toSorted(), (place) => ({ place, weight: (weight * tokens) / masked, known }))
        : [{ place: order[masked - 1], weight, known }];
    return { hidden, predicted };
  },
  stuckAt: () => -1,
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
