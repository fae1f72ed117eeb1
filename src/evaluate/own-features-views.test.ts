/** Shifted and rotated images, pixel by pixel, and the transforms of a training step. */

import { describe, expect, it } from "vitest";
import { trainingTransforms, type Transform, transformed } from "./own-features-views.ts";

/** The rows of a grey image as a network sees it: the first of each pixel's three bytes. */
function seen(rows: number[][], transform: Transform): number[][] {
  const size = rows.length;
  const { data, shape } = transformed({ images: Uint8Array.from(rows.flat()), size, channels: 1 }, () => transform);
  expect(shape).toEqual([1, size, size, 3]);
  data.forEach((value, i) => expect(value).toBe(data[i - (i % 3)])); // grey three times
  return rows.map((row, y) => row.map((_, x) => data[(y * size + x) * 3]));
}

const image = [
  [1, 2, 3],
  [4, 5, 6],
  [7, 8, 9],
];

describe("an image", () => {
  it("is seen unchanged, or rotated clockwise by quarter turns", () => {
    expect(seen(image, {})).toEqual(image);
    const quarter = [
      [7, 4, 1],
      [8, 5, 2],
      [9, 6, 3],
    ];
    expect(seen(image, { quarterTurns: 1 })).toEqual(quarter);
    expect(seen(image, { quarterTurns: 2 })).toEqual(image.toReversed().map((row) => row.toReversed()));
    expect(seen(quarter, { quarterTurns: 3 })).toEqual(image);
  });

  it("is shifted down and right, and the border is repeated", () => {
    expect(seen(image, { down: 1 })).toEqual([image[0], image[0], image[1]]);
    expect(seen(image, { down: -2 })).toEqual([image[2], image[2], image[2]]);
    expect(seen(image, { right: 1 })).toEqual([[1, 1, 2], [4, 4, 5], [7, 7, 8]]); // prettier-ignore
    expect(seen(image, { right: -1, down: 1 })).toEqual([[2, 3, 3], [2, 3, 3], [5, 6, 6]]); // prettier-ignore
  });

  it("is rotated before it is shifted", () => {
    expect(seen(image, { quarterTurns: 1, right: 1 })).toEqual([[7, 7, 4], [8, 8, 5], [9, 9, 6]]); // prettier-ignore
  });

  it("is one of several, each with its own transform", () => {
    const images = Uint8Array.from([...image.flat(), ...image.flat()]);
    const { data, shape } = transformed({ images, size: 3, channels: 1 }, (index) => ({ quarterTurns: 2 * index }));
    expect(shape).toEqual([2, 3, 3, 3]);
    expect([data[0], data[27], data[53]]).toEqual([1, 9, 1]);
  });

  it("is RGB: colours stay, and transparent pixels are blended with white", () => {
    const transform = (channels: number, ...pixel: number[]) => [
      ...transformed({ images: Uint8Array.from(pixel), size: 1, channels }, () => ({})).data,
    ];
    expect(transform(3, 1, 2, 3)).toEqual([1, 2, 3]);
    expect(transform(2, 0, 51)).toEqual([204, 204, 204]);
    expect(transform(4, 255, 0, 10, 0)).toEqual([255, 255, 255]);
  });
});

describe("a training step", () => {
  const drawn = (size: number, turned: boolean, { seed = 1, step = 1 } = {}) => {
    const transform = trainingTransforms({ size, turned }, { seed, step });
    return Array.from({ length: 2000 }, (_, index) => transform(index));
  };
  const counted = (transforms: Required<Transform>[], of: keyof Transform) => {
    const counts = new Map<number, number>();
    for (const transform of transforms) counts.set(transform[of], (counts.get(transform[of]) ?? 0) + 1);
    return [...counts].sort(([a], [b]) => a - b);
  };

  it.each(["down", "right"] as const)("shifts %s by up to an eighth of the side, uniformly", (direction) => {
    const counts = counted(drawn(16, false), direction);
    expect(counts.map(([shift]) => shift)).toEqual([-2, -1, 0, 1, 2]);
    for (const [, count] of counts) expect(Math.abs(count - 400)).toBeLessThan(4 * Math.sqrt(2000 * 0.2 * 0.8));
    expect(counted(drawn(7, false), direction)).toEqual([[0, 2000]]);
  });

  it("rotates at random only if that is the task", () => {
    expect(counted(drawn(8, false), "quarterTurns")).toEqual([[0, 2000]]);
    const counts = counted(drawn(8, true), "quarterTurns");
    expect(counts.map(([turns]) => turns)).toEqual([0, 1, 2, 3]);
    for (const [, count] of counts) expect(Math.abs(count - 500)).toBeLessThan(4 * Math.sqrt(2000 * 0.25 * 0.75));
  });

  it("depends only on seed, step and the image's number", () => {
    const one = drawn(16, true);
    expect(drawn(16, true)).toEqual(one);
    expect(drawn(16, true, { seed: 2 })).not.toEqual(one);
    expect(drawn(16, true, { step: 2 })).not.toEqual(one);
    expect(drawn(16, false).map(({ down }) => down)).toEqual(one.map(({ down }) => down));
  });
});
