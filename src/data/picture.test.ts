/** Decoding of all common kinds of pictures, and conversion of channels. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import crc32 from "crc-32";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import type { Pixels } from "./crop.ts";
import { decode, measurePicture, reasonOf, toChannels } from "./picture.ts";
import { sharedRoom } from "./room.ts";
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
    const { width, height } = await measurePicture({ bytes });
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
    expect((await measurePicture({ bytes: await plain(colour).png().toBuffer() })).channels).toBe(channels);
  });

  it("rotates a photo according to its EXIF orientation", async () => {
    // Black on the left, white on the right; orientation 6 rotates clockwise, so black moves to the top.
    const data = Uint8Array.from({ length: 16 * 8 }, (_, i) => (i % 16 < 8 ? 0 : 255));
    const image = sharp(data, { raw: { width: 16, height: 8, channels: 1 } });
    const bytes = await image.withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toBuffer();
    const { width, height } = await measurePicture({ bytes });
    expect([width, height]).toEqual([8, 16]);
    const turned = await decode({ bytes });
    expect([turned.width, turned.height, turned.data[0], turned.data.at(-1)]).toEqual([8, 16, 0, 255]);
  });

  it("uses the first frame of an animation", async () => {
    const frames = Buffer.concat(
      await Promise.all([plain([255, 0, 0]), plain([0, 0, 255])].map((f) => f.raw().toBuffer())),
    );
    const bytes = await sharp(frames, { raw: { width: 8, height: 16, channels: 3, pageHeight: 8 } })
      .gif()
      .toBuffer();
    const pixels = await decode({ bytes });
    expect([pixels.height, first(pixels)]).toEqual([8, [255, 0, 0, 255]]);
  });

  it("reports why a picture does not decode", async () => {
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
      "is empty",
      "does not decode (expected PNG, JPEG, WebP, GIF, AVIF, TIFF)",
      "does not decode (there is no such file; check the path)",
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
  it("converts every pixel, and returns a fitting picture unchanged", () => {
    const two = { data: Uint8Array.of(1, 2, 3, 4, 5, 6), width: 2, height: 1, channels: 3 };
    expect(toChannels(two, 4).data).toEqual(Uint8Array.of(1, 2, 3, 255, 4, 5, 6, 255));
    expect(toChannels(two, 3)).toBe(two);
  });
});

describe("pictures that other readers get wrong", () => {
  const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/data/field/${name}`, import.meta.url));

  it("CMYK matches Pillow in every byte", async () => {
    const pillow =
      "BQgBJExhIC1DBwYIRgNsIiQXGx8WRKZEtae8PzAbk5cBBhwODAcI2eyeE4kJECcejc9NAg80wbF2HTcaIQYsXFNRS2hRSRaOBDE0qqOQAQABXUUIeAVRdnxzMjReJ2shTHBNAQIAHS8LJgYFFTs2QFJCW1dyBwMGDA9ZWWamJA4bG0vLGQgWRzoT0B+RbDS+gykUQajXZsClBCAbAAQDbF5VGCIAAggDGhkKFgNTc04CF2ItX4ifA3NmmiGNhKZ4";
    const { data, channels } = await decode({ file: fixture("cmyk.jpg") });
    expect([channels, Buffer.from(data).toString("base64")]).toEqual([3, pillow]);
  });

  it.each([
    ["float.tif", "values from 0 to 1 are scaled from black to white"],
    ["signed.tif", "values from -1 to 1 are scaled from black to white"],
  ])("floats of %s are not black, and are reported", async (name, said) => {
    const { data, channels, floats } = await decode({ file: fixture(name) });
    expect([channels, floats]).toEqual([1, said]);
    expect([...data]).toEqual(Array.from({ length: 64 }, (_, i) => Math.round((255 * i) / 63)));
  });
});

describe("pictures that are too expensive", () => {
  it("are detected by their first bytes: an SVG is rejected, whatever its name", async () => {
    const file = join(folder, "drawing.png");
    put(file, '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>');
    const reason = "does not decode (expected PNG, JPEG, WebP, GIF, AVIF, TIFF)";
    expect(await measurePicture({ file }).catch(reasonOf)).toBe(reason);
    expect(await decode({ file }).catch(reasonOf)).toBe(reason);
  });

  it("are rejected by the size in their header", async () => {
    const bytes = Buffer.from(await plain([1, 2, 3]).png().toBuffer());
    bytes.writeUInt32BE(16_000, 16);
    bytes.writeUInt32BE(16_000, 20);
    bytes.writeInt32BE(crc32.buf(bytes.subarray(12, 29)), 29);
    const reason = "has 16000x16000 pixels, expected at most 67108864; scale it down";
    expect(await measurePicture({ bytes }).catch(reasonOf)).toBe(reason);
    expect(await decode({ bytes }).catch(reasonOf)).toBe(reason);
  });

  it("may have fewer pixels with alpha", async () => {
    const bytes = Buffer.from(await plain([1, 2, 3, 4]).png().toBuffer());
    bytes.writeUInt32BE(8000, 16);
    bytes.writeUInt32BE(8000, 20);
    bytes.writeInt32BE(crc32.buf(bytes.subarray(12, 29)), 29);
    expect(await decode({ bytes }).catch(reasonOf)).toBe(
      "has 8000x8000 pixels, expected at most 36000000; scale it down",
    );
  });

  it("wait for each other: concurrent decodings never exceed the size of the largest picture", async () => {
    const room = sharedRoom(10);
    let [now, most] = [0, 0];
    const work = (size: number) =>
      room.with(size, async () => {
        most = Math.max(most, (now += Math.min(size, 10)));
        await new Promise((go) => setTimeout(go, 2));
        now -= Math.min(size, 10);
      });
    await Promise.all([3, 4, 10, 2, 8, 99, 1, 5].map(work));
    expect([now, most]).toEqual([0, 10]);
  });
});

it("every picture gets its own reason, even with concurrent decoding", async () => {
  const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251);
  const image = sharp(noise, { raw: { width: 64, height: 64, channels: 3 } });
  const jpeg = await image.clone().jpeg().toBuffer();
  const png = await image.clone().png().toBuffer();
  const broken = Buffer.from(png);
  broken.fill(0x55, 200, 260);
  const pictures = [
    jpeg,
    jpeg.subarray(0, -200),
    png,
    png.subarray(0, -300),
    broken,
    Buffer.concat([jpeg.subarray(0, 300), Buffer.from("extraneous"), jpeg.subarray(300)]),
  ];
  const alone: string[] = [];
  for (const bytes of pictures) alone.push(await decode({ bytes }).then(() => "fine", reasonOf));
  expect(new Set(alone).size).toBeGreaterThan(2);
  const many = Array.from({ length: 60 }, (_, i) => i % pictures.length);
  const together = await Promise.all(many.map((i) => decode({ bytes: pictures[i] }).then(() => "fine", reasonOf)));
  expect(together).toEqual(many.map((i) => alone[i]));
});
