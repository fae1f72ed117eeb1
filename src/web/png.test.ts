/** PNG files and animations, read back by another program. */

import sharp from "sharp";
import { expect, it } from "vitest";
import { encodeAnimation, encodePng } from "./png.ts";

const picture = (width: number, height: number, of: (i: number) => number) => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => of(i)),
});

it("keeps every byte", async () => {
  const original = picture(5, 3, (i) => (i * 41) % 256);
  const { data, info } = await sharp(encodePng(original)).raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.height, info.channels]).toEqual([5, 3, 3]);
  expect(Uint8Array.from(data)).toEqual(original.data);
});

it("stores only the changed rectangles of an animation, and their durations", async () => {
  const frames = [0, 0, 9, 9].map((value, at) => ({
    ...picture(4, 4, (i) => (i === 15 ? value : 7)),
    delay: 100 + at,
  }));
  const bytes = encodeAnimation(frames);
  const chunks: { type: string; content: DataView }[] = [];
  const view = new DataView(bytes.buffer);
  for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) {
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    chunks.push({ type, content: new DataView(bytes.buffer, at + 8, view.getUint32(at)) });
  }
  expect(chunks.map(({ type }) => type)).toEqual(["IHDR", "acTL", "fcTL", "IDAT", "fcTL", "fdAT", "IEND"]);
  expect(chunks[1].content.getUint32(0)).toBe(2);
  const control = ({ content }: (typeof chunks)[number]) => ({
    sequence: content.getUint32(0),
    at: [4, 8, 12, 16].map((offset) => content.getUint32(offset)),
    delay: content.getUint16(20) / content.getUint16(22),
  });
  expect(control(chunks[2])).toEqual({ sequence: 0, at: [4, 4, 0, 0], delay: 0.201 });
  expect(control(chunks[4])).toEqual({ sequence: 1, at: [1, 1, 1, 1], delay: 0.205 });
  expect(chunks[5].content.getUint32(0)).toBe(2);
  // Programs without support for animations show the first picture.
  expect(Uint8Array.from(await sharp(bytes).raw().toBuffer())).toEqual(frames[0].data);
});
