/** Enlarging repeats pixels. */

import { expect, it } from "vitest";
import { enlarged } from "./bitmap.ts";

it("enlarges pixels to squares", () => {
  const { width, height, data } = enlarged({ width: 2, height: 1, data: Uint8Array.of(0, 1, 2, 3, 4, 5) }, 2);
  expect([width, height]).toEqual([4, 2]);
  expect([...data]).toEqual([0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
});

it("enlarges one channel like three", () => {
  const picture = { width: 1, height: 2, data: Uint8Array.of(7, 9) };
  expect(enlarged(picture, 3)).toEqual({
    width: 3,
    height: 6,
    data: Uint8Array.from([7, 9].flatMap((value) => new Array<number>(9).fill(value))),
  });
  expect(enlarged(picture, 1)).toBe(picture);
});
