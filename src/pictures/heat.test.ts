/** The colour map. */

import { expect, it } from "vitest";
import { heatColours } from "./heat.ts";

it("goes from dark to bright, and clamps values beyond its ends", () => {
  const brightness = (amount: number) => heatColours([amount], 4).reduce((a, b) => a + b, 0);
  const steps = [0, 0.5, 1, 2, 3, 4].map(brightness);
  expect(steps).toEqual(steps.toSorted((a, b) => a - b));
  expect(new Set(steps).size).toBe(steps.length);
  expect(brightness(9)).toBe(brightness(4));
  expect(brightness(-1)).toBe(brightness(0));
  expect([...heatColours([2], 4)]).toEqual([188, 55, 84]);
});
