/**
 * The loss scale of training in float16, as in mixed-precision training (Micikevicius et al. 2018, arXiv 1710.03740):
 * gradients are computed multiplied by it, since many would otherwise be too small for float16, and divided by it in
 * float32. It is a power of two, so that this changes no other bits.
 */

const first = 2 ** 16;
const largest = 2 ** 24;
/** It is doubled after so many steps, in case it has become smaller than necessary. */
const growthSteps = 2000;

export const isLossScale = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(Math.log2(value)) && value >= 1 && value <= largest;

/** The loss scale of step `number`, which counts from 0, after a step with `previous`, if there was one. */
export function lossScaleAt(number: number, previous: number | undefined): number {
  if (previous === undefined) return first;
  return number > 0 && number % growthSteps === 0 ? Math.min(largest, 2 * previous) : previous;
}
