/**
 * `fractalgen edit` with the shipped model and tiny random ones: kept pixels, output files, error messages and Ctrl-C.
 * The preview is shared with `sample` and tested there.
 */

import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { writeModelFolder } from "../files/model.ts";
import { readPngText } from "../pictures/pngtext.ts";
import { startingState } from "../train/state.ts";
import { built } from "../test-program.ts";
import { call } from "./test-call.ts";
import { thorough } from "../test-depth.ts";

let folder = "";
const at = (name: string) => join(folder, name);

/** A picture whose every pixel has its own value. */
const picture = (width: number, height: number): Buffer =>
  Buffer.from(
    Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7 + Math.floor(i / width / 3) * 31) % 256),
  );

async function png(
  name: string,
  width: number,
  { height = width, data = picture(width, height), channels = 3 as 1 | 3 | 4 } = {},
) {
  await sharp(data, { raw: { width, height, channels } }).png().toFile(at(name));
  return at(name);
}

const pixelsOf = async (path: string): Promise<Uint8Array> => sharp(path).removeAlpha().raw().toBuffer();

async function tiny(name: string, kind: "mar" | "ar"): Promise<string> {
  const size = { width: 16, depth: 1, heads: 2 };
  const levels = [
    { kind, patch: 4, ...size },
    { kind, patch: 1, ...size },
    { kind: "pixel", ...size },
  ];
  const config = parseModelConfig({ name, imageSize: 8, classes: ["face", "heart", "flag"], levels }, "the test");
  await writeModelFolder(at(name), config, startingState(config, 3, { ema: 0 }).values);
  return at(name);
}

let [mar, ar, image] = ["", "", ""];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-edit-"));
  [mar, ar, image] = [await tiny("mar", "mar"), await tiny("ar", "ar"), await png("in.png", 8)];
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const edit = (...args: string[]) => call("edit", ...args);

describe("edit", () => {
  it("redraws only the masked pixels with the shipped model, and reports all settings", async () => {
    const given = await png("emoji.png", 32);
    const disc = Buffer.from(
      Uint8Array.from({ length: 1024 }, (_, i) => (Math.hypot((i % 32) - 17, i / 32 - 14) < 7 ? 255 : 0)),
    );
    const mask = await png("disc.png", 32, { data: disc, channels: 1 });
    const [out, each, film] = [at("new/edited.png"), at("variants"), at("film.webp")];
    const args = ["--image", given, "--mask", mask, "--class", "heart,clock", "-n", "3", "--iterations", "3,2"];
    const files = ["--out", out, "--each", each, "--animate", film];
    const { code, out: said, err } = await edit(...args, "--seed", "5", ...files, "--json");
    expect([code, err]).toEqual([0, ""]);
    expect(JSON.parse(said)).toMatchObject({ out, animation: film, image: given, task: "inpaint", mask, ring: 0, seed: 5, classes: ["heart", "clock", "heart"], iterations: [3, 2] }); // prettier-ignore
    const original = await pixelsOf(given);
    const names = readdirSync(each);
    expect(names).toEqual(["0-heart.png", "1-clock.png", "2-heart.png"]);
    for (const name of names) {
      const variant = await pixelsOf(join(each, name));
      const kept = variant.every((byte, i) => disc[Math.floor(i / 3)] === 255 || byte === original[i]);
      expect(kept, "known pixels stay to the byte").toBe(true);
      expect(variant.filter((byte, i) => byte !== original[i]).length).toBeGreaterThan(200);
    }
    const text = readPngText(readFileSync(out));
    expect(text).toMatchObject({ Model: "emoji", Class: "heart,clock", Seed: "5", Count: "3", Image: "emoji.png", Task: "inpaint" }); // prettier-ignore
    expect(JSON.parse(text.Options)).toMatchObject({ mask, ring: 0, guidance: 2 });
    expect((await sharp(out).metadata()).width).toBe(4 + 5 * 132); // original, given and three variants
    expect((await sharp(film, { animated: true }).metadata()).pages).toBeGreaterThan(4);
  });

  it("scales a larger image to the model's size, says so, and redraws a rectangle with a ring", async () => {
    const large = await png("large.png", 48, { height: 32 });
    const files = ["--each", at("large"), "--out", at("large-out.png")];
    const { code, err } = await edit(
      "--model",
      mar,
      "--image",
      large,
      "--mask",
      "0,0,1,1",
      "--ring",
      "-n",
      "1",
      ...files,
    );
    expect(code).toBe(0);
    expect(err).toMatch(/large\.png has 48x32 pixels; its central square was scaled to the model's 8x8\n1 image in/);
    expect(readdirSync(at("large"))).toEqual(["0-no-class.png"]);
    expect(JSON.parse(readPngText(readFileSync(at("large-out.png"))).Options)).toMatchObject({ ring: 1, guidance: 1 });
  });
});

describe("prints one sentence and exits with code 2 for", () => {
  const bad: [what: string, args: () => string[] | Promise<string[]>, sentence: RegExp][] = [
    ["no image", () => ["--out", at("o.png")], /required option '--image <file>' not specified/],
    ["a missing image", () => ["--image", at("none.png")], /--image: the file .*none\.png does not exist/],
    ["a file that is not an image", () => (writeFileSync(at("text.png"), "text"), ["--image", at("text.png")]), /--image: text\.png does not decode .*; expected a PNG/], // prettier-ignore
    ["an image that is too small", async () => ["--image", await png("small.png", 8, { height: 7 })], /--image: .*8x7 pixels, but the model generates 8x8; use an image at least that large/], // prettier-ignore
    ["a mask of another size", async () => ["--mask", await png("mask9.png", 9)], /--mask: expected 8x8 pixels, the model's size, got .*mask9\.png with 9x9/], // prettier-ignore
    ["a missing mask", () => ["--mask", "masc.png"], /--mask: the file masc\.png does not exist/],
    ["a mask that keeps everything", async () => ["--mask", await png("black.png", 8, { data: Buffer.alloc(192) })], /--mask: it marks nothing to redraw; mark at least one pixel/], // prettier-ignore
    ["a rectangle outside", () => ["--mask", "4,4,5,2"], /--mask: expected a rectangle inside the image's 8x8 pixels, got 5x2 pixels at 4,4/], // prettier-ignore
    ["a rectangle of three numbers", () => ["--mask", "4,4,2"], /--mask: expected x,y,width,height .* got "4,4,2"/],
    ["an unknown task", () => ["--task", "inpant"], /--task: expected inpaint or outpaint .*did you mean "inpaint"/],
    [
      "a class change without a class",
      () => ["--task", "class"],
      /--class: --task class needs the new class .* face, heart, flag/,
    ],
    ["guidance without a class", () => ["--guidance", "3"], /--guidance: .*needs --class/],
    ["an unknown class", () => ["--class", "hart"], /--class: .*did you mean "heart"/],
    ["--given without --task outpaint", () => ["--given", "top"], /--given: this option needs --task outpaint/],
    [
      "--extent with --task outpaint",
      () => ["--task", "outpaint", "--extent", "4"],
      /--extent: this option needs --task inpaint, uncrop, class/,
    ],
    ["an extent beyond the image", () => ["--extent", "9"], /--extent: expected at most the image's 8 pixels, got 9/],
    ["everything kept", () => ["--task", "uncrop", "--extent", "8"], /--mask: it marks nothing to redraw/],
    ["a ring of half a patch", () => ["--ring", "0.5"], /--ring: expected a whole number .*"0\.5"/],
    ["a hole in an AR model's image", () => ["--model", ar, "--mask", "0,0,4,4"], /--mask: the first level of this model draws in raster order.*keep an upper part/], // prettier-ignore
    ["a count out of range", () => ["-n", "0"], /--count: .*from 1/],
  ];
  it.each(bad)("%s", async (_, args, sentence) => {
    const given = await args();
    const usual =
      given.includes("--image") || given.includes("--out") ? [] : ["--image", image, "--out", at("never.png")];
    const { code, err, out } = await edit("--model", mar, ...usual, ...given);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(sentence);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect(existsSync(at("never.png"))).toBe(false);
  });
});

it.runIf(thorough)("stops at Ctrl-C and writes nothing", async () => {
  const out = at("stopped.png");
  const args = ["edit", "--model", mar, "--image", image, "-n", "40000", "--out", out, "--each", at("stopped")];
  const child = spawn(process.execPath, [built("cli/main"), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let err = "";
  child.stderr.on("data", (part) => {
    err += part;
    if (/%/.test(String(part))) child.kill("SIGINT");
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(err).toMatch(/stopped; nothing was written/);
  expect(code).toBe(130);
  expect([existsSync(out), existsSync(at("stopped"))]).toEqual([false, false]);
});
