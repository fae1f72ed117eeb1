/** Reference points checked against known results: constant images, noise, and file sizes. */

import { describe, expect, it } from "vitest";
import sharp from "sharp";
import { derive, bits, seedKey } from "../core/random.ts";
import { type Dataset, splitOf } from "./dataset.ts";
import { referencePoints } from "./references.ts";

const size = 16;
/** 20 training and 6 held-out images; `value` returns the byte at a position of an image. */
function datasetOf(channels: number, value: (image: number, i: number) => number): Dataset {
  const bytes = size * size * channels;
  const split = (count: number, from: number) =>
    splitOf({
      images: Uint8Array.from({ length: count * bytes }, (_, i) => value(from + Math.floor(i / bytes), i % bytes)),
      labels: new Int32Array(count),
      names: Array.from({ length: count }, (_, i) => `${i}`),
    });
  const rest = { name: "set", source: "set", classes: ["one"], skipped: [], notes: [], fingerprint: "" };
  return { ...rest, size, channels, train: split(20, 0), heldOut: split(6, 20) };
}
const points = async (dataset: Dataset, options = {}) =>
  Object.fromEntries((await referencePoints(dataset, options)).map(({ name, bits }) => [name, bits]));
const noise = (image: number, i: number) => bits(derive(seedKey(1), image), i) & 255;

describe("reference points", () => {
  it.each([1, 2, 3, 4])("of noise are about 8 bits, and never below 8 for files (%i channels)", async (channels) => {
    const found = await points(datasetOf(channels, noise));
    expect(Object.keys(found)).toEqual(["uniform", "histogram", "PNG", "lossless WebP"]);
    expect(found.uniform).toBe(8);
    expect(Math.abs(found.histogram - 8)).toBeLessThan(0.1);
    for (const name of ["PNG", "lossless WebP"]) {
      expect(found[name], name).toBeGreaterThan(8);
      expect(found[name], name).toBeLessThan(12); // of 256 values the header takes its share
    }
  });

  it("of a histogram are its cross-entropy, per channel, with add-one smoothing", async () => {
    // Red is always 5, green is 9 in training and 8 in held-out images, blue is even or odd.
    const dataset = datasetOf(3, (image, i) => [5, image < 20 ? 9 : 8, (i / 3) & 1][i % 3]);
    const n = 20 * size * size;
    const expected =
      -(Math.log2((n + 1) / (n + 256)) + Math.log2(1 / (n + 256)) + Math.log2((n / 2 + 1) / (n + 256))) / 3;
    expect((await points(dataset)).histogram).toBeCloseTo(expected, 9);
  });

  it("of files are their mean size", async () => {
    const dataset = datasetOf(3, (image, i) => (image * 31 + (i >> 3)) % 256);
    let [png, webp] = [0, 0];
    for (let i = 0; i < 6; i++) {
      const image = sharp(dataset.heldOut.image(i), { raw: { width: size, height: size, channels: 3 } });
      const filters = [true, false].map((adaptiveFiltering) =>
        image.clone().png({ compressionLevel: 9, adaptiveFiltering }).toBuffer(),
      );
      png += Math.min(...(await Promise.all(filters)).map(({ length }) => length));
      const file = await image.clone().webp({ lossless: true, effort: 6, quality: 100 }).toBuffer();
      expect(await sharp(file).raw().toBuffer()).toEqual(Buffer.from(dataset.heldOut.image(i)));
      webp += file.length;
    }
    const values = 6 * size * size * 3;
    const found = await points(dataset);
    expect(found.PNG).toBeCloseTo((png * 8) / values, 9);
    expect(found["lossless WebP"]).toBeCloseTo((webp * 8) / values, 9);
  });

  it("of smooth images are far below 8, and the same whatever the order of work", async () => {
    const dataset = datasetOf(1, (image, i) => image * 5 + (i >> 4));
    const found = await points(dataset);
    expect(found.PNG).toBeLessThan(4);
    expect(found["lossless WebP"]).toBeLessThan(3);
    expect(await points(dataset)).toEqual(found);
  });

  it("encode fewer large images, report progress, and can be aborted", async () => {
    const dataset = datasetOf(3, () => 7);
    const image = new Uint8Array(128 * 128 * 3);
    const split = { ...dataset.heldOut, count: 1000, image: () => image };
    const stop = new AbortController();
    const seen: string[] = [];
    const onProgress = (done: number, total: number) => {
      seen.push(`${done} of ${total}`);
      stop.abort();
    };
    const points = referencePoints(
      { ...dataset, size: 128, train: split, heldOut: split },
      { onProgress, signal: stop.signal },
    );
    await expect(points).rejects.toThrow("aborted");
    expect(seen).toEqual(["1 of 124"]);
  });

  it("accept a limit, evenly spaced, and stop on abort", async () => {
    // Of six held-out images the first and fourth are flat, the rest noise.
    const dataset = datasetOf(3, (image, i) => ((image - 20) % 3 === 0 ? 7 : noise(image, i)));
    expect((await points(dataset, { limit: 2 })).PNG).toBeLessThan(1.5);
    expect((await points(dataset)).PNG).toBeGreaterThan(5);
    await expect(referencePoints(dataset, { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
  });
});
