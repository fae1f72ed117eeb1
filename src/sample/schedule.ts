/** How many patches a step decodes and how strongly it is guided. */

import type { Schedule } from "../config/sampling.ts";

/** Patches still masked after step s of n, of N in all: floor(N cos(pi/2 (s + 1) / n)), 1 to masked - 1. */
export const maskedAfter = (step: number, steps: number, tokens: number, masked: number): number =>
  Math.max(1, Math.min(masked - 1, Math.floor(tokens * Math.cos(((Math.PI / 2) * (step + 1)) / steps))));

/**
 * The guidance of a step with the linear schedule grows with the share `done` of the patches; deeper levels use that of
 * the first level's step.
 */
export const guidanceAt = (guidance: number, schedule: Schedule, done: number): number =>
  schedule === "linear" ? 1 + (guidance - 1) * done : guidance;
