import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import { UserError } from "../core/errors.ts";
import { animatedPicture, animation } from "./animation.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-animation-"));
afterAll(() => rmSync(folder, { recursive: true }));

const [width, height] = [6, 4];
const frame = (value: number) => new Uint8Array(width * height * 3).fill(value);

test.each(["webp", "gif"])("%s has every frame and shows the last one longer", async (ending) => {
  const path = join(folder, `some.${ending}`);
  await animation([frame(0), frame(100), frame(255)], { width, height, delay: 80, path });
  const metadata = await sharp(path, { animated: true }).metadata();
  expect(metadata).toMatchObject({
    format: ending,
    pages: 3,
    pageHeight: height,
    width,
    loop: 0,
    delay: [80, 80, 1500],
  });
  const second = await sharp(path, { page: 1 }).removeAlpha().raw().toBuffer();
  expect([...second.subarray(0, 3)]).toEqual([100, 100, 100]);
});

test.each(["webp", "gif"] as const)("%s: equal frames become one that lasts longer", async (format) => {
  const bytes = await animatedPicture([frame(0), frame(0), frame(9), frame(9)], { width, height, delay: 50, format });
  expect(await sharp(bytes, { animated: true }).metadata()).toMatchObject({ pages: 2, delay: [100, 1550] });
});

test("a single frame and wrong calls", async () => {
  const options = { width, height, delay: 50 };
  expect((await sharp(await animatedPicture([frame(1)], { ...options, format: "webp" })).metadata()).width).toBe(width);
  await expect(animation([frame(1)], { ...options, path: "a.mp4" })).rejects.toThrow(UserError);
  await expect(animatedPicture([], { ...options, format: "gif" })).rejects.toThrow("no frame");
  await expect(animatedPicture([frame(1), new Uint8Array(3)], { ...options, format: "gif" })).rejects.toThrow(
    "frame 1",
  );
});
