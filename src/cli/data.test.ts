/** `fractalgen data`: counts, skipped images and the contact sheet for a folder with classes, and its error messages. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it } from "vitest";
import { call } from "./test-call.ts";

const root = mkdtempSync(join(tmpdir(), "fractalgen-data-"));
const at = (name: string) => join(root, name);
afterAll(() => rmSync(root, { recursive: true }));

beforeAll(async () => {
  for (const [name, count] of [
    ["blue", 7],
    ["red", 3],
  ] as const) {
    // prettier-ignore
    mkdirSync(at(`photos/${name}`), { recursive: true });
    for (let i = 0; i < count; i++) {
      const background = { r: name === "red" ? 200 : 20, g: 10 * i, b: name === "blue" ? 200 : 20 };
      const image = sharp({ create: { width: 10, height: 10, channels: 3, background } });
      await image.png().toFile(at(`photos/${name}/${i}.png`));
    }
  }
  writeFileSync(at("photos/red/damaged.png"), "no picture");
});

const data = (...more: string[]) => call("data", "--data", at("photos"), "--cache", at("cache"), ...more);

it("counts images by class and names skipped images", async () => {
  const { code, out } = await data();
  expect(code).toBe(0);
  expect(out).toMatch(/^photos: \d+ images to train on, \d+ held out, 2 classes, 10x10, 3 channels$/m);
  expect(out).toMatch(/^ {2}class {2}train {2}held out$/m);
  expect(out).toMatch(/^skipped: 1 image\n {2}1: .*\(red\/damaged\.png\)$/m);
  const told = JSON.parse((await data("--json")).out);
  expect(told.classes.map((one: { class: string; train: number; heldOut: number }) => [one.class, one.train + one.heldOut])).toEqual([["blue", 7], ["red", 3]]); // prettier-ignore
  expect(told.leftOut.map(({ name }: { name: string }) => name)).toEqual(["red/damaged.png"]);
});

it("draws a row of images for each class, and no more images than exist", async () => {
  const sheet = at("sheet.png");
  expect((await data("--sheet", sheet, "--per-class", "4")).code).toBe(0);
  const { data: pixels, info } = await sharp(sheet).raw().toBuffer({ resolveWithObject: true });
  const colourAt = (column: number, row: number) => {
    const [x, y] = [(column + 0.5) / 4, (row + 0.4) / 2].map((share, i) => Math.floor(share * [info.width, info.height][i])); // prettier-ignore
    return [...pixels.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)];
  };
  for (let column = 0; column < 4; column++) expect(colourAt(column, 0)[2]).toBe(200);
  for (let column = 0; column < 3; column++) expect(colourAt(column, 1)[0]).toBe(200);
  expect(colourAt(3, 1)).toEqual([255, 255, 255]);
});

it.each<[string[], RegExp]>([
  [["--sheet", "sheet.jpg"], /--sheet: expected a file name ending in \.png/],
  [["--sets", "noto"], /--sets: only the emoji data have sets/],
  [["--sets", "notto"], /--sets: there is no set "notto"; did you mean "noto"\?/],
  [["--per-class", "0"], /--per-class/],
])("%j is refused in one sentence", async (more, message) => {
  const { code, err } = await data(...more);
  expect(code).toBe(2);
  expect(err).toMatch(message);
});
