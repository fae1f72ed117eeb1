/** How the loss scale changes over a training, and which values a checkpoint may have. */

import { expect, it } from "vitest";
import { isLossScale, lossScaleAt } from "./loss-scale.ts";

it("starts at 65536, keeps what a step ended with, and doubles every 2000 steps, to at most 2^24", () => {
  expect(lossScaleAt(0, undefined)).toBe(65_536);
  expect(lossScaleAt(4000, undefined)).toBe(65_536); // a run in float32 that is resumed in float16
  expect(lossScaleAt(1, 1024)).toBe(1024);
  expect(lossScaleAt(1999, 1024)).toBe(1024);
  expect(lossScaleAt(2000, 1024)).toBe(2048);
  expect(lossScaleAt(2000, 2 ** 24)).toBe(2 ** 24);
});

it("is a power of two", () => {
  for (const value of [1, 2, 65_536, 2 ** 24]) expect(isLossScale(value), String(value)).toBe(true);
  for (const value of [0, 0.5, 3, -2, 2 ** 25, NaN, Infinity, "1024", null]) expect(isLossScale(value)).toBe(false);
});
