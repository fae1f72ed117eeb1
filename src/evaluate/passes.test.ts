/** A pass's description of its pixels, compared with the index arrays that it feeds to the graph. */

import { describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig, placedLevels } from "../config/model.ts";
import { derive, seedKey } from "../core/random.ts";
import { type Pass, passOver, viewsInOrder } from "./passes.ts";

const size = { width: 8, depth: 1, heads: 1 };
/** 4x4 pixels in 4 patches of 2x2 pixels. */
const model = (first: "ar" | "mar", second: "ar" | "mar"): ModelConfig => {
  const levels = [
    { kind: first, patch: 2, ...size },
    { kind: second, patch: 1, ...(first === "ar" && second === "mar" ? { conditions: 1 } : {}), ...size },
    { kind: "pixel", ...size },
  ];
  return parseModelConfig({ imageSize: 4, classes: ["one"], levels }, "the test");
};
const models: [string, ModelConfig][] = [
  ["AR", model("ar", "ar")],
  ["MAR", model("mar", "mar")],
  ["MAR above AR", model("mar", "ar")],
  ["AR above MAR", model("ar", "mar")],
];

const shown = { kind: "estimate" } as const;

/** Two images, each with one view for an estimate, or one view per step of an order. */
function passOf(config: ModelConfig, { inOrder }: { inOrder: boolean }): Pass {
  const views = [0, 1].flatMap((image) => {
    const key = derive(seedKey(5), image);
    return inOrder ? viewsInOrder(config, image, { key }) : [{ image, key, shown }];
  });
  return passOver(config, views, { inOrder });
}

/** For each level and pixel: the row of the level's square and the patch's number in it, from the indices in `take`. */
function placesOf(config: ModelConfig, { feeds, pixels }: Pass): { row: number; place: number }[][] {
  const levels = placedLevels(config);
  let rows = Array.from(pixels.image, (_, i) => i);
  return levels
    .map(({ tokens }, l) => ({ tokens, take: feeds.take[l] }))
    .toReversed()
    .map(({ tokens, take: { data, shape } }) => {
      const middle = (row: number) => Number(data[row * shape[1] + shape[1] - 1]);
      const places = rows.map((row) => ({ row: Math.floor(middle(row) / tokens), place: middle(row) % tokens }));
      rows = places.map(({ row }) => row);
      return places;
    })
    .toReversed();
}

describe.each(models)("%s", (_, config) => {
  const levels = placedLevels(config);

  it.each([false, true])("known patches are those the square's mask does not hide (in order: %s)", (inOrder) => {
    const pass = passOf(config, { inOrder });
    const places = placesOf(config, pass);
    expect(pass.known).toHaveLength(levels.length);
    levels.forEach(({ kind, tokens }, l) => {
      const expected = places[l].map(({ row, place }) => {
        if (kind === "ar") return place; // patches come in raster order, and the mask is no input
        const mask = pass.feeds.mask[l]!.data as Float32Array;
        expect(mask[row * tokens + place], "a predicted patch is hidden").toBe(1);
        return mask.subarray(row * tokens, (row + 1) * tokens).filter((hidden) => hidden === 0).length;
      });
      expect([...pass.known[l]]).toEqual(expected);
    });
  });

  it("an order predicts each pixel once, and its numbers of known patches take all values", () => {
    const { pixels, known } = passOf(config, { inOrder: true });
    expect(pixels.image).toHaveLength(2 * 16);
    expect(new Set(Array.from(pixels.image, (image, i) => [image, pixels.x[i], pixels.y[i]].join())).size).toBe(2 * 16);
    const pairs = Array.from(pixels.image, (image, i) => [image, known[0][i], known[1][i]].join());
    expect(new Set(pairs).size).toBe(2 * 4 * 4);
    expect(pixels.weight.every((weight) => weight === 1)).toBe(true);
  });

  it("the weights of an estimate add up to the number of pixels, and not all patches are known", () => {
    const { pixels, known } = passOf(config, { inOrder: false });
    for (const image of [0, 1]) {
      const own = pixels.weight.filter((_, i) => pixels.image[i] === image);
      expect(own.reduce((a, b) => a + b, 0)).toBeCloseTo(16, 9);
    }
    levels.forEach(({ tokens }, l) => expect(known[l].every((count) => count >= 0 && count < tokens)).toBe(true));
  });
});

it("the number of an estimate's known patches is uniform", () => {
  const config = model("mar", "ar");
  const counts = new Float64Array(4);
  for (let image = 0; image < 4000; image++)
    counts[passOver(config, [{ image, key: derive(seedKey(1), image), shown }], { inOrder: false }).known[0][0]]++;
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(4 * Math.sqrt(4000 * 0.25 * 0.75));
});
