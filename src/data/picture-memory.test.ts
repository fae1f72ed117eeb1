/** Large pictures of every format, one after another: the process never takes 500 MB. */

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { afterAll, expect, it } from "vitest";
import { builtUrl } from "../test-program.ts";
import { bytesPerPixel, type Header } from "./picture-memory.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-memory-"));
afterAll(() => rmSync(folder, { recursive: true }));

const blank = (size: number, channels: 3 | 4) =>
  sharp({ create: { width: size, height: size, channels, background: { r: 9, g: 99, b: 200, alpha: 0.5 } } });

const kinds: Record<string, () => Sharp> = {
  "grey.png": () => blank(8000, 3).toColourspace("b-w").png(),
  "alpha.png": () => blank(5800, 4).png(),
  "interlaced.png": () => blank(6000, 3).png({ progressive: true }),
  "progressive.jpg": () => blank(6200, 3).jpeg({ progressive: true, chromaSubsampling: "4:4:4" }),
  "cmyk.jpg": () => blank(6500, 3).toColourspace("cmyk").jpeg(),
  "a.webp": () => blank(6500, 3).webp({ effort: 0 }),
  "a.tif": () => blank(7000, 3).tiff({ compression: "deflate" }),
};

const program = `
  const { openDataset } = await import(process.argv[1]);
  await openDataset(process.argv[2], { imageSize: 32, cache: process.argv[3] });
  console.log(process.resourceUsage().maxRSS / 1024);
`;

it.each(Object.keys(kinds))(
  "%s",
  async (name) => {
    const place = join(folder, name);
    mkdirSync(place);
    const bytes = await kinds[name]().toBuffer();
    for (let i = 0; i < 2; i++) writeFileSync(join(place, `${i}${name}`), bytes);
    await sharp({ create: { width: 40, height: 40, channels: 3, background: "white" } })
      .png()
      .toFile(join(place, "other.png"));
    const args = ["--input-type=module", "--eval", program, builtUrl("data/open"), place, join(place, "cache")];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(Number(stdout), stderr).toBeGreaterThan(100); // the pictures were decoded
    expect(Number(stdout)).toBeLessThan(500);
  },
  120_000,
);

it("is expected to be larger with alpha, in floats, and where decoders need the whole picture", () => {
  const header: Header = {
    format: "png",
    channels: 3,
    depth: "uchar",
    space: "srgb",
    hasAlpha: false,
    isProgressive: false,
  };
  const cost = (other: Partial<Header>) => bytesPerPixel({ ...header, ...other });
  const plain = cost({});
  for (const other of [
    { hasAlpha: true, channels: 4 },
    { depth: "float" },
    { isProgressive: true },
    { format: "webp" },
    { format: "heif" },
    { format: "jpeg", isProgressive: true, chromaSubsampling: "4:4:4" },
    { format: "jpeg", space: "cmyk", channels: 4 },
  ] as Partial<Header>[])
    expect(cost(other), JSON.stringify(other)).toBeGreaterThan(plain);
});
