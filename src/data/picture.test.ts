/** Decoding of every kind of picture that people have, and changes of channels. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import type { Pixels } from "./crop.ts";
import { decode, measure, reasonOf, toChannels } from "./picture.ts";
import { plain, put } from "./test-files.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-picture-"));
afterAll(() => rmSync(folder, { recursive: true }));

const first = ({ data, channels }: Pixels) => [...data.subarray(0, channels)];

describe("decode", () => {
  const rgb = [200, 100, 50];
  it.each([
    ["grey PNG", plain([77]).png(), [77]],
    ["grey JPEG", plain([77]).jpeg(), [77]],
    ["grey PNG of 16 bits", plain([77]).toColourspace("grey16").png(), [77]],
    ["grey PNG with alpha", plain([77, 128]).png(), [77, 77, 77, 128]],
    ["RGB PNG", plain(rgb).png(), rgb],
    ["RGB PNG of 16 bits", plain(rgb).toColourspace("rgb16").png(), rgb],
    ["PNG with a palette", plain(rgb).png({ palette: true }), rgb],
    ["PNG with alpha", plain([...rgb, 128]).png(), [...rgb, 128]],
    ["PNG with a palette and alpha", plain([...rgb, 128]).png({ palette: true }), [...rgb, 128]],
    ["WebP", plain(rgb).webp({ lossless: true }), rgb],
    ["TIFF", plain(rgb).tiff(), rgb],
    ["GIF", plain(rgb).gif(), [...rgb, 255]],
  ])("reads %s to the byte", async (_, made, expected) => {
    const bytes = await made.toBuffer();
    const pixels = await decode({ bytes });
    expect(first(pixels)).toEqual(expected);
    expect(pixels.data.length).toBe(8 * 8 * expected.length);
    const { width, height } = await measure({ bytes });
    expect([width, height]).toEqual([8, 8]);
  });

  it.each([
    ["JPEG", plain(rgb).jpeg({ quality: 100 })],
    ["CMYK JPEG", plain(rgb).toColourspace("cmyk").jpeg({ quality: 100 })],
    ["AVIF", plain(rgb).avif({ quality: 100 })],
  ])("reads %s nearly so", async (_, made) => {
    const pixels = await decode({ bytes: await made.toBuffer() });
    expect(pixels.channels).toBe(3);
    first(pixels).forEach((value, c) => expect(Math.abs(value - rgb[c])).toBeLessThan(35));
  });

  it.each([
    [[77], 1],
    [[77, 128], 2],
    [rgb, 3],
    [[...rgb, 128], 4],
  ])("measures %j as %i channels", async (colour, channels) => {
    expect((await measure({ bytes: await plain(colour).png().toBuffer() })).channels).toBe(channels);
  });

  it("turns a photo as its EXIF orientation says", async () => {
    // Black on the left, white on the right; orientation 6 turns it clockwise, so that black comes to the top.
    const data = Uint8Array.from({ length: 16 * 8 }, (_, i) => (i % 16 < 8 ? 0 : 255));
    const image = sharp(data, { raw: { width: 16, height: 8, channels: 1 } });
    const bytes = await image.withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toBuffer();
    const { width, height } = await measure({ bytes });
    expect([width, height]).toEqual([8, 16]);
    const turned = await decode({ bytes });
    expect([turned.width, turned.height, turned.data[0], turned.data.at(-1)]).toEqual([8, 16, 0, 255]);
  });

  it("takes the first frame of an animation", async () => {
    const frames = Buffer.concat(
      await Promise.all([plain([255, 0, 0]), plain([0, 0, 255])].map((f) => f.raw().toBuffer())),
    );
    const bytes = await sharp(frames, { raw: { width: 8, height: 16, channels: 3, pageHeight: 8 } })
      .gif()
      .toBuffer();
    const pixels = await decode({ bytes });
    expect([pixels.height, first(pixels)]).toEqual([8, [255, 0, 0, 255]]);
  });

  it("says why a picture does not decode", async () => {
    const noise = Uint8Array.from({ length: 100 * 100 * 3 }, (_, i) => (i * i) % 251);
    const jpeg = await sharp(noise, { raw: { width: 100, height: 100, channels: 3 } })
      .jpeg()
      .toBuffer();
    put(join(folder, "broken.png"), "text");
    const reasons = [
      { bytes: jpeg.subarray(0, jpeg.length / 2) },
      { bytes: new Uint8Array() },
      { file: join(folder, "broken.png") },
      { file: join(folder, "nowhere.png") },
    ].map((picture) => decode(picture).then(() => "no error", reasonOf));
    expect(await Promise.all(reasons)).toEqual([
      expect.stringMatching(/^does not decode \(.*premature end/),
      expect.stringMatching(/^does not decode \(.*empty/),
      "does not decode (Input file contains unsupported image format)",
      "does not decode (Input file is missing)",
    ]);
  });
});

describe("toChannels", () => {
  const pixel = (...data: number[]): Pixels => ({
    data: Uint8Array.from(data),
    width: 1,
    height: 1,
    channels: data.length,
  });
  it.each<[number[], number, number[]]>([
    [[77], 2, [77, 255]],
    [[77], 3, [77, 77, 77]],
    [[77], 4, [77, 77, 77, 255]],
    [[77, 0], 1, [255]], // nothing but the white behind it
    [[100, 128], 1, [177]], // 100 * 128 / 255 + 127
    [[100, 128], 3, [177, 177, 177]],
    [[100, 128], 4, [100, 100, 100, 128]],
    [[200, 100, 50], 1, [124]], // 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    [[200, 100, 50], 2, [124, 255]],
    [[200, 100, 50], 4, [200, 100, 50, 255]],
    [[200, 100, 50, 255], 3, [200, 100, 50]],
    [[200, 100, 50, 0], 3, [255, 255, 255]],
    [[200, 100, 50, 128], 2, [124, 128]],
    [[255, 255, 255, 255], 1, [255]],
  ])("%j to %i channels is %j", (from, channels, expected) => {
    expect(toChannels(pixel(...from), channels)).toEqual(pixel(...expected));
  });
  it("treats every pixel, and leaves what fits alone", () => {
    const two = { data: Uint8Array.of(1, 2, 3, 4, 5, 6), width: 2, height: 1, channels: 3 };
    expect(toChannels(two, 4).data).toEqual(Uint8Array.of(1, 2, 3, 255, 4, 5, 6, 255));
    expect(toChannels(two, 3)).toBe(two);
  });
});
