/** Settings that the configurations of several level kinds share. */

import { z } from "zod";

/** A whole number within bounds. */
export const whole = (low: number, high: number) => z.int().min(low).max(high);

/** Side of a patch in pixels. */
export const patchSide = whole(1, 4096);

/** The size of a transformer. */
export const transformer = {
  width: whole(1, 65536),
  depth: whole(1, 256),
  heads: whole(1, 1024),
};

/** Whether the queries and keys of each head are RMS-normalised before attention, without learned weights. */
export const qkNorm = z.boolean().optional();
