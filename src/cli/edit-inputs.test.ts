/** Images and masks as `fractalgen edit` reads them. Masks are shown as text; # marks pixels to redraw. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { centerCrop } from "../data/crop.ts";
import { type MaskFlags, readMask, readOriginal } from "./edit-inputs.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-edit-inputs-"));
afterAll(() => rmSync(folder, { recursive: true }));

const level = { width: 8, depth: 1, heads: 2 };
const config = parseModelConfig(
  {
    imageSize: 4,
    classes: ["one"],
    levels: [
      { kind: "mar", patch: 1, ...level },
      { kind: "pixel", ...level },
    ],
  },
  "the test",
);

async function png(name: string, data: Uint8Array, { width, channels }: { width: number; channels: 1 | 3 | 4 }) {
  const height = data.length / width / channels;
  await sharp(data, { raw: { width, height, channels } }).png().toFile(join(folder, name));
  return join(folder, name);
}

const bytes = (count: number) => Uint8Array.from({ length: count }, (_, i) => (i * 37) % 256);

describe("an image", () => {
  it("of the model's size is used unchanged", async () => {
    const path = await png("own.png", bytes(48), { width: 4, channels: 3 });
    expect(await readOriginal(path, config)).toEqual({ image: bytes(48), width: 4, height: 4, note: undefined });
  });

  it("of another size is cropped like training data, and a note says so", async () => {
    const path = await png("large.png", bytes(9 * 12 * 3), { width: 12, channels: 3 });
    const { image, note } = await readOriginal(path, config);
    const expected = centerCrop({ data: bytes(9 * 12 * 3), width: 12, height: 9, channels: 3 }, 4).data;
    expect(image).toEqual(expected);
    expect(note).toMatch(/large\.png has 12x9 pixels; its central square was scaled to the model's 4x4$/);
  });

  it("is converted to the model's channels: alpha is blended onto white", async () => {
    const path = await png("alpha.png", new Uint8Array(64), { width: 4, channels: 4 });
    expect((await readOriginal(path, config)).image).toEqual(new Uint8Array(48).fill(255));
  });
});

describe("a mask", () => {
  const original = { image: new Uint8Array(48), width: 8, height: 6 };
  const read = async (flags: Partial<MaskFlags>) => {
    const mask = await readMask({ task: "inpaint", ...flags }, config, original);
    return [0, 1, 2, 3].map((y) => [...mask.subarray(4 * y, 4 * y + 4)].map((one) => ".#"[one]).join(""));
  };

  it("is the task's default if none is given", async () => {
    expect(await read({})).toEqual(["....", ".##.", ".##.", "...."]);
    expect(await read({ task: "outpaint", given: "bottom" })).toEqual(["####", "####", "....", "...."]);
    expect(await read({ task: "uncrop", extent: 2 })).toEqual(["####", "#..#", "#..#", "####"]);
  });

  it("may be a rectangle", async () => {
    expect(await read({ mask: "1, 2,3,1", task: "class" })).toEqual(["....", "....", ".###", "...."]);
  });

  it("may be an image, whose white and transparent pixels are redrawn", async () => {
    const grey = Uint8Array.from({ length: 16 }, (_, i) => [0, 127, 128, 255][i % 4]);
    expect(await read({ mask: await png("grey.png", grey, { width: 4, channels: 1 }) })).toEqual(Array(4).fill("..##"));
    const alpha = Uint8Array.from({ length: 64 }, (_, i) => (i % 4 === 3 && i < 32 ? 255 : 0));
    expect(await read({ mask: await png("clear.png", alpha, { width: 4, channels: 4 }) })).toEqual(["....", "....", "####", "####"]); // prettier-ignore
  });

  it("of the image's original size is cropped and scaled like the image", async () => {
    const right = Uint8Array.from({ length: 48 }, (_, i) => (i % 8 >= 4 ? 255 : 0));
    expect(await read({ mask: await png("right.png", right, { width: 8, channels: 1 }) })).toEqual(
      Array(4).fill("..##"),
    );
    const other = await png("other.png", bytes(25), { width: 5, channels: 1 });
    await expect(read({ mask: other })).rejects.toThrow(/^--mask: expected 4x4 pixels, the model's size, or 8x6, the image's, got .* with 5x5$/); // prettier-ignore
  });
});
