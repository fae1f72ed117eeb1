/** How strongly a step is guided. */

import type { Schedule } from "../config/sampling.ts";

/**
 * The guidance of a step with the linear schedule grows with the share `done` of the patches; deeper levels use that of
 * the first level's step.
 */
export const guidanceAt = (guidance: number, schedule: Schedule, done: number): number =>
  schedule === "linear" ? 1 + (guidance - 1) * done : guidance;
