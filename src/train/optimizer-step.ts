/** The inputs of an optimiser step. */

import type { Moments } from "../core/adamw.ts";

export interface OptimizerState {
  values: ReadonlyMap<string, Float32Array>;
  moments: ReadonlyMap<string, Moments>;
}

export interface OptimizerStep {
  /** Counts from 1. */
  step: number;
  learningRate: number;
  /** Multiplies the gradients (clipping). */
  scale: number;
}
