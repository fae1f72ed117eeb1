/** The centre crop with numbers of channels that Pillow's recorded crops (see `parity/crops.test.ts`) do not cover. */

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readCrops } from "../parity/crops.ts";
import { centerCrop, type Pixels, timesByte } from "./crop.ts";

const cases = readCrops(fileURLToPath(new URL("../../fixtures/crop/crop.safetensors", import.meta.url)));

const filled = (width: number, height: number, values: number[]): Pixels => ({
  width,
  height,
  channels: values.length,
  data: Uint8Array.from({ length: width * height * values.length }, (_, i) => values[i % values.length]),
});

describe("the centre crop", () => {
  it.each(cases)("treats a channel the same for any number of channels: $name", ({ image, size, expected }) => {
    const green = image.data.filter((_, i) => i % 3 === 1);
    const crop = centerCrop({ ...image, data: green, channels: 1 }, size);
    expect([crop.width, crop.height, crop.channels]).toEqual([size, size, 1]);
    expect(crop.data).toEqual(expected.filter((_, i) => i % 3 === 1));
  });

  it("gives an opaque image the same colours with and without alpha", () => {
    const { image, size, expected } = cases.find(({ name }) => name === "2.size64.u8")!;
    const data = new Uint8Array((image.data.length / 3) * 4).fill(255);
    image.data.forEach((value, i) => (data[Math.floor(i / 3) * 4 + (i % 3)] = value));
    const crop = centerCrop({ ...image, data, channels: 4 }, size);
    expect(crop.data.filter((_, i) => i % 4 < 3)).toEqual(expected);
    expect(crop.data.filter((_, i) => i % 4 === 3).every((alpha) => alpha === 255)).toBe(true);
  });

  it("does not bleed colours of transparent pixels into their neighbours", () => {
    const image = filled(64, 64, [200, 10, 10, 255]);
    for (let at = 0; at < image.data.length; at += 4) if ((at / 4) % 64 < 33) image.data.set([0, 255, 0, 0], at); // transparent, and green if one were to look
    for (let at = 0, { data } = centerCrop(image, 16); at < data.length; at += 4)
      if (data[at + 3] > 0) expect(data[at + 1]).toBeLessThan(30);
  });

  it("leaves an image of the right size unchanged, and rejects a smaller one", () => {
    const image = filled(8, 8, [1, 2, 3]);
    expect(centerCrop(image, 8)).toBe(image);
    expect(() => centerCrop(image, 9)).toThrow("8x8 is smaller than 9");
  });

  it("takes the middle of a strip", () => {
    const strip = filled(20, 4, [0]);
    strip.data.forEach((_, i) => (strip.data[i] = i % 20));
    expect([...centerCrop(strip, 4).data.subarray(0, 4)]).toEqual([8, 9, 10, 11]);
  });
});

it("timesByte is a b / 255 rounded, for all bytes", () => {
  for (let a = 0; a < 256; a++) for (let b = 0; b < 256; b++) expect(timesByte(a, b)).toBe(Math.round((a * b) / 255));
});
