/** Streams of images: all of a folder or file, in order, repeatable; images that do not decode are reported. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { type ImageStream, openImages } from "./images.ts";
import { npy, npz, plain, put } from "./test-files.ts";

const root = mkdtempSync(join(tmpdir(), "fractalgen-images-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;

/** A new folder with these pictures, each of one colour; text is written unchanged. */
async function folderOf(files: Record<string, readonly number[] | string>, width = 8): Promise<string> {
  const folder = join(root, `set${made++}`);
  for (const [name, content] of Object.entries(files))
    put(join(folder, name), typeof content === "string" ? content : await plain(content, { width }).png().toBuffer());
  return folder;
}

async function all({ images }: ImageStream): Promise<[name: string, ...bytes: number[]][]> {
  const found: [string, ...number[]][] = [];
  for await (const { name, data } of images()) found.push([name, ...data]);
  return found;
}

const [red, blue, green] = [[255, 0, 0], [0, 0, 255], [0, 255, 0]]; // prettier-ignore

describe("a stream of images", () => {
  it("has all images of a folder, across parts and classes, in order of names, every time", async () => {
    const folder = await folderOf({ "train/b.png": red, "train/a.png": green, "test/c.png": blue });
    const stream = await openImages(folder, {});
    expect(stream).toMatchObject({ size: 8, channels: 3, count: 3, skipped: [] });
    const found = await all(stream);
    expect(found.map(([name, ...bytes]) => [name, ...bytes.slice(0, 3)]).sort()).toEqual([
      ["test/c.png", ...blue],
      ["train/a.png", ...green],
      ["train/b.png", ...red],
    ]);
    expect(found.every(({ length }) => length === 1 + 8 * 8 * 3)).toBe(true);
    expect(found.findIndex(([name]) => name === "train/a.png")).toBeLessThan(
      found.findIndex(([name]) => name === "train/b.png"),
    );
    expect(await all(stream)).toEqual(found);
  });

  it("has the images' own size and channels, or the requested ones", async () => {
    const grey = await folderOf({ "a.png": [100], "b.png": [200] }, 6);
    expect(await openImages(grey, {})).toMatchObject({ size: 6, channels: 1 });
    const stream = await openImages(grey, { imageSize: 2, channels: 3 });
    expect(await all(stream)).toEqual([
      ["a.png", ...new Array<number>(12).fill(100)],
      ["b.png", ...new Array<number>(12).fill(200)],
    ]);
    await expect(openImages(grey, { imageSize: 7 })).rejects.toThrow(/2 images of 2 are smaller than the image size 7/);
  });

  it("keeps a large size exactly, and reports how many images are cropped or scaled down", async () => {
    // A checkerboard of single pixels, which no smaller image could show.
    const checkered = Uint8Array.from({ length: 100 * 100 }, (_, i) => ((i + Math.floor(i / 100)) % 2) * 255);
    const folder = await folderOf({});
    const image = sharp(checkered, { raw: { width: 100, height: 100, channels: 1 } }).toColourspace("b-w");
    put(join(folder, "a.png"), await image.png().toBuffer());
    const stream = await openImages(folder, {});
    expect(stream.size).toBe(100);
    expect((await all(stream))[0].slice(1)).toEqual([...checkered]);
    expect(stream.resized).toBe(0);
    put(join(folder, "b.png"), await plain([7], { width: 140, height: 100 }).png().toBuffer());
    const wide = await openImages(folder, {});
    await all(wide);
    expect([wide.size, wide.resized]).toEqual([100, 1]);
    const small = await openImages(folder, { imageSize: 50 });
    await all(small);
    expect(small.resized).toBe(2);
  });

  it("asks for a size if the images differ in size", async () => {
    const folder = await folderOf({ "a.png": red }, 8);
    put(join(folder, "b.png"), await plain(blue, { width: 300, height: 256 }).png().toBuffer());
    await expect(openImages(folder, {})).rejects.toThrow(
      /: its images have different sizes, such as a\.png \(8x8\), b\.png \(300x256\); choose one size for all, such as 8$/,
    );
    expect((await openImages(folder, { imageSize: 8 })).size).toBe(8);
  });

  it("reports images that do not decode, on every pass, and continues", async () => {
    const stream = await openImages(await folderOf({ "a.png": red, "b.png": "no picture", "c.png": blue }), {});
    expect(stream.count).toBe(3);
    for (const _ of [1, 2]) {
      expect((await all(stream)).map(([name]) => name)).toEqual(["a.png", "c.png"]);
      expect(stream.skipped).toEqual([{ name: "b.png", reason: expect.stringMatching(/^does not decode/) }]);
    }
  });

  it("can come from a file of arrays, too", async () => {
    const values = Uint8Array.from({ length: 2 * 2 * 2 * 3 }, (_, i) => i);
    const path = join(root, "samples.npz");
    put(path, npz({ arr_0: npy("|u1", [2, 2, 2, 3], { values }) }));
    const stream = await openImages(path, {});
    expect(stream).toMatchObject({ size: 2, channels: 3, count: 2 });
    expect((await all(stream)).flatMap(([, ...bytes]) => bytes)).toEqual([...values]);
  });

  it("is rejected in one sentence if there are no images", async () => {
    await expect(openImages(join(root, "none"), {})).rejects.toThrow(/none: there is no such folder or file/);
    await expect(openImages(await folderOf({ "notes.txt": "text" }), {})).rejects.toBeInstanceOf(UserError);
    const broken = await folderOf({ "a.png": "no picture", "b.png": "none either" });
    await expect(openImages(broken, {})).rejects.toThrow(/none of its 2 images can be decoded: a\.png does not decode/);
  });

  it("can be aborted", async () => {
    const folder = await folderOf({ "a.png": red, "b.png": blue });
    await expect(openImages(folder, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    const controller = new AbortController();
    const stream = await openImages(folder, { signal: controller.signal });
    controller.abort(new Error("later"));
    await expect(all(stream)).rejects.toThrow("later");
  });
});

it("reports an image with a valid header but damaged pixels", async () => {
  const folder = await folderOf({});
  const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 2654435761) >>> 24);
  const png = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
    .png()
    .toBuffer();
  put(join(folder, "cut.png"), png.subarray(0, png.length / 2));
  const stream = await openImages(folder, {});
  await expect(all(stream)).rejects.toThrow(`${folder}: none of its images can be decoded`);
  expect(stream.skipped).toHaveLength(1);
});
