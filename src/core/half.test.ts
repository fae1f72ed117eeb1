/** Sixteen-bit floats: every half is preserved, and floats are rounded to the nearest half, ties to even. */

import { expect, it } from "vitest";
import { fromHalf, toHalf } from "./half.ts";

const all = Uint16Array.from({ length: 65_536 }, (_, i) => i);
const isNaNHalf = (half: number) => (half & 0x7fff) > 0x7c00;

it("converts every half to float and back", () => {
  expect(toHalf(fromHalf(all))).toEqual(all.map((half) => (isNaNHalf(half) ? 0x7e00 : half)));
});

it("rounds floats between two halves to the nearer one, and ties to the even one", () => {
  const low = all.slice(0, 0x7bff);
  const high = low.map((half) => half + 1);
  const above = fromHalf(high);
  const middle = fromHalf(low).map((value, i) => (value + above[i]) / 2);
  const even = low.map((half) => half + (half % 2));
  for (const [factor, expected] of [
    [1, even],
    [1 - 2 ** -20, low],
    [1 + 2 ** -20, high],
  ] as const) {
    expect(toHalf(middle.map((value) => value * factor))).toEqual(expected);
    expect(toHalf(middle.map((value) => -value * factor))).toEqual(expected.map((half) => half | 0x8000));
  }
});

it("turns values that are too large into infinity", () => {
  expect([...toHalf(Float32Array.of(65_504, 65_519.9, 65_520, 1e9, -Infinity, 1e-9))]).toEqual([
    0x7bff, 0x7bff, 0x7c00, 0x7c00, 0xfc00, 0,
  ]);
});
