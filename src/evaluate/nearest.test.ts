/** Nearest images compared with the plain definition, exact copies, and fractions of distances. */

import { describe, expect, it } from "vitest";
import { float32 } from "../core/arrays.ts";
import { normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { type Features, float64, rowsOf } from "./metrics-products.ts";
import { closenessOf, inParts, nearest, pixelRows, shareBelow } from "./nearest.ts";

const engine = await nodeEngine({ threads: 1 });

/** Rows of independent normal values. */
function cloud(seed: number, rows: number, width = 3): Features {
  const key = seedKey(seed);
  return float64(
    Float64Array.from({ length: rows * width }, (_, i) => normal(key, i)),
    [rows, width],
  );
}

const rowOf = ({ data, shape: [, width] }: Features, i: number) => data.subarray(i * width, (i + 1) * width);
const apart = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.hypot(...Array.from(a, (value, d) => value - b[d]));

describe("the nearest", () => {
  const [queries, references] = [cloud(1, 1030), cloud(2, 1100)]; // more than a block of each

  it("equals the definition, with its distance, in any parts", async () => {
    const whole = await nearest(engine, queries, [references]);
    for (let i = 0; i < 1030; i += 103) {
      const distances = Array.from({ length: 1100 }, (_, j) => apart(rowOf(queries, i), rowOf(references, j)));
      const least = Math.min(...distances);
      expect(whole.index[i]).toBe(distances.indexOf(least));
      expect(whole.distance[i]).toBeCloseTo(least, 9);
    }
    for (const rows of [70, 1000]) {
      const cut = await nearest(engine, queries, inParts(references, rows));
      expect(cut.index).toEqual(whole.index);
      cut.distance.forEach((value, i) => expect(value).toBeCloseTo(whole.distance[i], 9));
    }
  });

  it("of a row within its own set is the row itself or an equal one before it, in any block", async () => {
    const data = references.data.slice() as Float64Array;
    data.copyWithin(1060 * 3, 5 * 3, 6 * 3); // row 1060 is row 5
    const set = float64(data, references.shape);
    const { index, distance } = await nearest(engine, set, [set]);
    expect([...index]).toEqual(Array.from({ length: 1100 }, (_, i) => (i === 1060 ? 5 : i)));
    expect(distance.every((value) => value === 0)).toBe(true);
  });

  it("is the first of several at the same distance", async () => {
    const three = cloud(3, 3);
    const twice = [rowsOf(three, 1, 2), three, three];
    const { index } = await nearest(engine, three, twice);
    expect([...index]).toEqual([1, 0, 3]);
  });

  it("accepts references as an asynchronous stream, for example from files", async () => {
    async function* parts() {
      for (const part of inParts(references, 300)) yield part;
    }
    expect(await nearest(engine, rowsOf(queries, 0, 9), parts())).toEqual(
      await nearest(engine, rowsOf(queries, 0, 9), inParts(references, 300)),
    );
  });

  it("refuses no references, other dimensions and NaN, and can be cancelled", async () => {
    await expect(nearest(engine, queries, [])).rejects.toThrow("Nearest images: there are no reference images");
    await expect(nearest(engine, queries, [cloud(1, 4, 5)])).rejects.toThrow(
      "Nearest images: the generated images have 3 dimensions but the reference 5",
    );
    const broken = float64(Float64Array.of(1, 2, 3, 4, NaN, 6), [2, 3]);
    await expect(nearest(engine, broken, [references])).rejects.toThrow(
      "Nearest images: the query set has NaN for image 1, not a number",
    );
    await expect(nearest(engine, queries, [references, broken])).rejects.toThrow(
      "Nearest images: the reference set has NaN for image 1, not a number",
    );
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(nearest(engine, queries, [references], { signal })).rejects.toThrow("enough");
  });
});

describe("pixels", () => {
  it("have the root of their mean squared difference as distance, from 0 to 1", async () => {
    const [black, white, half] = [0, 255, 51].map((value) => new Uint8Array(12).fill(value));
    const mixed = Uint8Array.from({ length: 12 }, (_, i) => (i < 3 ? 255 : 0));
    const { distance } = await nearest(engine, pixelRows([white, half, mixed]), [pixelRows([black])]);
    [1, 0.2, 0.5].forEach((expected, i) => expect(distance[i]).toBeCloseTo(expected, 6));
    expect(pixelRows([])).toMatchObject({ shape: [0, 0] });
  });

  it("are a copy only if every byte is the same", async () => {
    const image = Uint8Array.from({ length: 256 * 256 * 3 }, (_, i) => 255 - ((i * 7) % 3));
    const other = image.slice();
    other[100_000] ^= 1;
    const { index, distance } = await nearest(engine, pixelRows([image, other]), [pixelRows([image])]);
    expect([...index]).toEqual([0, 0]);
    expect(distance[0]).toBe(0);
    expect(distance[1] * 255 * Math.sqrt(image.length)).toBeCloseTo(1, 1);
    expect(closenessOf(distance).copies).toBe(1);
  });
});

it("parts of features are all rows in order, at most `rows` each", () => {
  const features = float32([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [5, 2]);
  const parts = [...inParts(features, 2)];
  expect(parts.map(({ shape }) => shape)).toEqual([[2, 2], [2, 2], [1, 2]]); // prettier-ignore
  expect(parts.flatMap(({ data }) => [...data])).toEqual([...features.data]);
  expect([...inParts(float32([], [0, 2]))]).toEqual([]);
});

describe("closeness", () => {
  it("is the least distance, the 5% quantile, the median, and the number of copies", () => {
    const distance = Float64Array.from({ length: 100 }, (_, i) => (99 - i) / 10);
    expect(closenessOf(distance)).toEqual({ least: 0, fifth: 0.5, median: 5, copies: 1, images: 100 });
    expect(distance[0]).toBe(9.9); // the order is unchanged
    expect(closenessOf(Float64Array.of(2))).toEqual({ least: 2, fifth: 2, median: 2, copies: 0, images: 1 });
  });

  it("is compared by the fraction below a limit", () => {
    expect(shareBelow(Float64Array.of(1, 2, 3, 4), 3)).toBe(0.5);
    expect(shareBelow(Float64Array.of(1, 2), 0.5)).toBe(0);
  });
});
