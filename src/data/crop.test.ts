/** The centre crop against what Pillow made of the same images, to the byte. */

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readSafetensors } from "../files/safetensors.ts";
import { centerCrop, type Pixels, timesByte } from "./crop.ts";

const { tensors } = readSafetensors(fileURLToPath(new URL("../../fixtures/crop/crop.safetensors", import.meta.url)));
const cases = [...tensors.keys()].flatMap((name) => {
  const match = /^(\d+)\.size(\d+)\.u8$/.exec(name);
  return match ? [{ name, input: `${match[1]}.input.u8`, size: Number(match[2]) }] : [];
});

const pixels = (name: string): Pixels => {
  const { shape, data } = tensors.get(name)!;
  return { data: data as Uint8Array, height: shape[0], width: shape[1], channels: shape[2] };
};

const filled = (width: number, height: number, values: number[]): Pixels => ({
  width,
  height,
  channels: values.length,
  data: Uint8Array.from({ length: width * height * values.length }, (_, i) => values[i % values.length]),
});

describe("the centre crop", () => {
  it("has five recorded cases", () => expect(cases.length).toBe(5));

  it.each(cases)("equals Pillow's: $name", ({ name, input, size }) => {
    const crop = centerCrop(pixels(input), size);
    expect([crop.width, crop.height, crop.channels]).toEqual([size, size, 3]);
    expect(Buffer.compare(crop.data, tensors.get(name)!.data as Uint8Array)).toBe(0);
  });

  it.each(cases)("treats a channel alike however many there are: $name", ({ name, input, size }) => {
    const image = pixels(input);
    const green = image.data.filter((_, i) => i % 3 === 1);
    const crop = centerCrop({ ...image, data: green, channels: 1 }, size);
    expect(crop.data).toEqual((tensors.get(name)!.data as Uint8Array).filter((_, i) => i % 3 === 1));
  });

  it("gives an opaque image with alpha the colours it has without", () => {
    const image = pixels("2.input.u8");
    const data = new Uint8Array((image.data.length / 3) * 4).fill(255);
    image.data.forEach((value, i) => (data[Math.floor(i / 3) * 4 + (i % 3)] = value));
    const crop = centerCrop({ ...image, data, channels: 4 }, 64);
    expect(crop.data.filter((_, i) => i % 4 < 3)).toEqual(tensors.get("2.size64.u8")!.data);
    expect(crop.data.filter((_, i) => i % 4 === 3).every((alpha) => alpha === 255)).toBe(true);
  });

  it("keeps the colour of transparent pixels out of their neighbours", () => {
    const image = filled(64, 64, [200, 10, 10, 255]);
    for (let at = 0; at < image.data.length; at += 4) if ((at / 4) % 64 < 33) image.data.set([0, 255, 0, 0], at); // transparent, and green if one were to look
    for (let at = 0, { data } = centerCrop(image, 16); at < data.length; at += 4)
      if (data[at + 3] > 0) expect(data[at + 1]).toBeLessThan(30);
  });

  it("leaves an image of the size as it is, and refuses a smaller one", () => {
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
