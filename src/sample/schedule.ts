/** The guidance of each step. */

import type { Schedule } from "../config/sampling.ts";

/**
 * The guidance of a step. With the linear schedule it grows with the share `done` of the patches; deeper levels use the
 * guidance of the enclosing step of the first level.
 */
export const guidanceAt = (guidance: number, schedule: Schedule, done: number): number =>
  schedule === "linear" ? 1 + (guidance - 1) * done : guidance;
