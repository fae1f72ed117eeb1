import sharp from "sharp";
import { expect, test } from "vitest";
import type { Bitmap } from "./bitmap.ts";
import { glyph } from "./font.ts";
import { fittingCount, gridLayout, gridPixels, gridPng, imagePng } from "./grid.ts";
import { readPngText } from "./pngtext.ts";

const at = ({ data, width }: Bitmap, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3),
];
const inked = (pixels: Bitmap, top: number) =>
  pixels.data.subarray(top * pixels.width * 3).filter((value) => value === 51).length / 3;

test("a grid places, enlarges and separates its images", () => {
  const images = Uint8Array.from({ length: 3 * 2 * 2 * 3 }, (_, index) => index);
  const grid = gridPixels(images, { count: 3, size: 2, channels: 3, columns: 2, scale: 5 });
  expect([grid.width, grid.height]).toEqual([4 + 2 * 14, 4 + 2 * 14]);
  expect(at(grid, 3, 3)).toEqual([255, 255, 255]);
  expect([at(grid, 4, 4), at(grid, 8, 8), at(grid, 9, 4), at(grid, 13, 13)]).toEqual([
    [0, 1, 2],
    [0, 1, 2],
    [3, 4, 5],
    [9, 10, 11],
  ]);
  expect(at(grid, 18, 4)).toEqual([12, 13, 14]); // the second image
  expect(at(grid, 4, 18)).toEqual([24, 25, 26]); // the third, in the second row
  expect(at(grid, 18, 18)).toEqual([255, 255, 255]); // an empty place
});

test("a cell is at most 128 pixels by default", () => {
  const width = (size: number) => gridPixels(new Uint8Array(size * size), { count: 1, size, channels: 1 }).width - 8;
  expect([8, 28, 32, 64, 200].map(width)).toEqual([128, 112, 128, 128, 200]);
});

test("as many images are counted as fit into so many pixels", () => {
  const options = { count: 50_000, size: 64, labels: Array.from({ length: 50_000 }, (_, i) => "ab".slice(i % 2)) };
  const shown = fittingCount(options, 268e6);
  const pixels = (count: number) => {
    const { width, height } = gridLayout({ ...options, count, labels: options.labels.slice(0, count) });
    return width * height;
  };
  expect(pixels(options.count)).toBeGreaterThan(268e6);
  expect(pixels(shown)).toBeLessThanOrEqual(268e6);
  expect(pixels(shown + 1)).toBeGreaterThan(268e6);
  expect(fittingCount({ count: 9, size: 64 }, 268e6)).toBe(9);
  expect(fittingCount({ count: 9, size: 64 }, 1)).toBe(1);
});

test("luma and alpha are composited onto white", () => {
  const one = (channels: number, ...image: number[]) =>
    at(gridPixels(Uint8Array.from(image), { count: 1, size: 1, channels, scale: 1 }), 4, 4);
  expect(one(1, 7)).toEqual([7, 7, 7]);
  expect(one(2, 0, 51)).toEqual([204, 204, 204]);
  expect(one(4, 255, 0, 10, 255)).toEqual([255, 0, 10]);
  expect(one(4, 255, 0, 10, 0)).toEqual([255, 255, 255]);
  expect(() => one(5, 1, 2, 3, 4, 5)).toThrow("1 to 4 channels");
});

test("labels are drawn below their image at double size if they fit, and shortened if they do not", () => {
  const labelled = (label: string, scale = 4) =>
    gridPixels(new Uint8Array(16 * 16), { count: 1, size: 16, channels: 1, scale, labels: [label] });
  const dots = [...glyph("H")].filter((mark) => mark === "#").length;
  expect(dots).toBe(17);
  expect(inked(labelled("H"), 4 + 64)).toBe(dots * 4);
  expect(inked(labelled("HHHHHHH"), 4 + 64)).toBe(dots * 7); // 7 x 6 pixels fit 64 only once
  expect(inked(labelled("HHHHHHHHHHHH"), 4 + 64)).toBe(dots * 8 + 2 * 4); // 8 letters and two dots
  expect(inked(labelled("HHHH", 1), 4 + 16)).toBe(0); // "H.." already is wider than 16
  expect(inked(labelled("é", 1), 4 + 16)).toBe([...glyph("?")].filter((mark) => mark === "#").length * 4);
  expect(labelled("H").height - labelled("H").width).toBe(8 * 2 + 4);
});

test("every printable character has its own glyph", () => {
  const glyphs = Array.from({ length: 95 }, (_, index) => glyph(String.fromCharCode(32 + index)));
  expect(new Set(glyphs).size).toBe(95);
  for (const drawn of glyphs) expect(drawn).toMatch(/^[#.]{40}$/);
});

test("a mismatch is reported", () => {
  expect(() => gridPixels(new Uint8Array(5), { count: 1, size: 2, channels: 1 })).toThrow("[1, 2, 2, 1]");
  expect(() => gridPixels(new Uint8Array(4), { count: 1, size: 2, channels: 1, labels: [] })).toThrow("0 labels");
  expect(() => gridPixels(new Uint8Array(0), { count: 0, size: 2, channels: 1 })).toThrow("no image");
});

test("gridPng decodes to gridPixels and carries its text", async () => {
  const images = Uint8Array.from({ length: 2 * 4 * 4 * 3 }, (_, index) => index * 2);
  const options = { count: 2, size: 4, channels: 3, labels: ["heart", "sky"] };
  const png = await gridPng(images, { ...options, text: { seed: "7" } });
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  const grid = gridPixels(images, options);
  expect([info.width, info.height, info.channels]).toEqual([grid.width, grid.height, 3]);
  expect(data.equals(grid.data)).toBe(true);
  expect(readPngText(png)).toEqual({ seed: "7" });
});

test.each([1, 2, 3, 4])("imagePng keeps %i channels", async (channels) => {
  const image = Uint8Array.from({ length: 9 * channels }, (_, index) => 3 + index * 5);
  const png = await imagePng(image, { size: 3, channels, text: { a: "b" } });
  expect(await sharp(png).metadata()).toMatchObject({ width: 3, height: 3, channels });
  // Decoded, luma comes back as three equal channels.
  const pixels = Array.from({ length: 9 }, (_, index) => [...image.subarray(index * channels, (index + 1) * channels)]);
  const expected = channels < 3 ? pixels.map(([luma, ...alpha]) => [luma, luma, luma, ...alpha]) : pixels;
  expect([...(await sharp(png).raw().toBuffer())]).toEqual(expected.flat());
  expect(readPngText(png)).toEqual({ a: "b" });
});
