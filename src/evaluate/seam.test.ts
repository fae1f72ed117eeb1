/** Seams of hand-made pictures. */

import { describe, expect, it } from "vitest";
import { ratioOf, seamOf } from "./seam.ts";

describe("a seam", () => {
  // 4x4, two channels, of which the second is flat; the right half drawn.
  const mask = Uint8Array.from({ length: 16 }, (_, at) => Number(at % 4 >= 2));
  const image = (...row: number[]) =>
    Uint8Array.from({ length: 32 }, (_, at) => (at % 2 ? 9 : row[Math.floor(at / 2) % 4]));

  it("is the mean difference across the border, and that inside", () => {
    // Inside are 4 horizontal pairs that differ by 6, and 6 vertical pairs that are equal.
    expect(seamOf(image(5, 0, 10, 16), mask, { size: 4, channels: 2 })).toEqual({
      across: 10 / 2,
      inside: (4 * 6) / 10 / 2,
    });
  });

  it("of a flat picture, or one that is drawn completely, is zero", () => {
    expect(seamOf(image(3, 3, 3, 3), mask, { size: 4, channels: 2 })).toEqual({ across: 0, inside: 0 });
    expect(seamOf(image(0, 9, 0, 9), mask.map(() => 1), { size: 4, channels: 2 }).across).toBe(0); // prettier-ignore
  });

  it("over images is a ratio of sums, with a standard error from the images' spread", () => {
    expect(ratioOf([2, 4, 6], [1, 2, 3])).toEqual({ ratio: 2, error: 0 });
    const { ratio, error } = ratioOf([1, 3], [1, 1]);
    expect(ratio).toBe(2);
    expect(error).toBeCloseTo(1, 12); // the standard error of the mean of 1 and 3
    expect(ratioOf([4], [2])).toEqual({ ratio: 2, error: 0 });
  });
});
