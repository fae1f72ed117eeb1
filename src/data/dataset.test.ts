import { expect, test } from "vitest";
import { epochOrder, imagesBetween, shuffled, splitOf } from "./dataset.ts";

test("shuffled is a permutation that depends only on the seed", () => {
  expect([...shuffled(100, 7)].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, index) => index));
  expect(shuffled(100, 7)).toEqual(shuffled(100, 7));
  expect(shuffled(100, 7)).not.toEqual(shuffled(100, 8));
  expect([shuffled(0, 1).length, shuffled(1, 1)[0]]).toEqual([0, 0]);
});

test("shuffled puts every value at every position about equally often", () => {
  const counts = new Float64Array(9);
  for (let seed = 0; seed < 9000; seed++) {
    const order = shuffled(3, seed);
    for (let place = 0; place < 3; place++) counts[place * 3 + order[place]]++;
  }
  for (const count of counts) expect(Math.abs(count - 3000)).toBeLessThan(250); // more than five standard deviations
});

test("each epoch has its own order", () => {
  const orders = [0, 1, 2].map((epoch) => epochOrder(50, { epoch, seed: 1 }).join());
  expect(new Set(orders).size).toBe(3);
});

test("a split in memory gives views of its images, and copies of several", () => {
  const images = Uint8Array.of(1, 2, 3, 4, 5, 6);
  const split = splitOf({ images, labels: Int32Array.of(0, 0, 0), names: ["a", "b", "c"] });
  expect(split.count).toBe(3);
  expect(split.image(1)).toEqual(Uint8Array.of(3, 4));
  expect(split.image(1).buffer).toBe(images.buffer);
  expect(imagesBetween(split, { from: 1, to: 3 })).toEqual(Uint8Array.of(3, 4, 5, 6));
});
