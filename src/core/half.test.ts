/** Sixteen-bit floats: every half is preserved, and floats are rounded to the nearest half, ties to even. */

import { expect, it } from "vitest";
import { fromHalf, toHalf } from "./half.ts";

const all = Uint16Array.from({ length: 65_536 }, (_, i) => i);
const isNaNHalf = (half: number) => (half & 0x7fff) > 0x7c00;

it("converts every half to float and back", () => {
  const back = toHalf(fromHalf(all));
  for (const half of all) expect(back[half]).toBe(isNaNHalf(half) ? 0x7e00 : half);
});

it("rounds floats between two halves to the nearer one, and ties to the even one", () => {
  for (let half = 0; half < 0x7bff; half++) {
    const [low, high] = fromHalf(Uint16Array.of(half, half + 1));
    const middle = (low + high) / 2;
    const near = Float32Array.of(middle, middle * (1 - 2 ** -20), middle * (1 + 2 ** -20));
    expect([...toHalf(near)]).toEqual([half % 2 === 0 ? half : half + 1, half, half + 1]);
    expect([...toHalf(near.map((v) => -v))]).toEqual([...toHalf(near)].map((v) => v | 0x8000));
  }
});

it("turns values that are too large into infinity", () => {
  expect([...toHalf(Float32Array.of(65_504, 65_519.9, 65_520, 1e9, -Infinity, 1e-9))]).toEqual([
    0x7bff, 0x7bff, 0x7c00, 0x7c00, 0xfc00, 0,
  ]);
});
