/** `fractalgen evaluate editing` with tiny random models and a folder of pictures: its measurements and masks. */

import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { writeModelFolder } from "../files/model.ts";
import { plannedRows } from "../measures/editing.ts";
import { startingState } from "../train/state.ts";
import { call } from "./test-call.ts";

let folder = "";
const at = (name: string) => join(folder, name);

const size = { width: 16, depth: 1, heads: 2 };
const configOf = (kind: "mar" | "ar") => {
  const levels = [
    { kind, patch: 2, ...size },
    { kind, patch: 1, ...size },
    { kind: "pixel", ...size },
  ];
  return parseModelConfig({ name: kind, imageSize: 8, classes: ["pictures"], levels }, "the test");
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-evaluate-editing-"));
  mkdirSync(at("pictures"));
  for (let i = 0; i < 6; i++) {
    const data = Buffer.from(Uint8Array.from({ length: 192 }, (_, at) => (at * (i + 3) * 7) % 256));
    await sharp(data, { raw: { width: 8, height: 8, channels: 3 } })
      .png()
      .toFile(at(`pictures/${i}.png`));
  }
  await writeModelFolder(at("mar"), configOf("mar"), startingState(configOf("mar"), 3, { ema: 0 }).values);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it("measures seams and bits without and with a ring", async () => {
  const data = ["--data", at("pictures"), "--held-out", "0.5", "--cache", at("cache"), "--threads", "1"];
  const args = ["--model", at("mar"), ...data, "--task", "outpaint", "--given", "bottom", "--json"];
  const { out, code } = await call("evaluate", "editing", ...args);
  expect(code).toBe(0);
  const { rows, images, classes } = JSON.parse(out);
  expect([images, classes, rows.length]).toEqual([2, true, 2]);
  for (const [i, { task, ring, drawn, seam, originalSeam, toOriginal, atMask, bits, originalBits }] of rows.entries()) {
    expect([task, ring, drawn]).toEqual(["outpaint", i, i === 0 ? 32 / 64 : 48 / 64]);
    for (const { ratio } of [seam, originalSeam, toOriginal]) expect(ratio).toBeGreaterThan(0.1);
    expect(atMask?.seam.ratio > 0.1).toBe(i === 1);
    // For an untrained model, all bytes are about equally likely.
    for (const { bits: one, count } of [bits, originalBits]) expect([Math.round(one), count]).toEqual([8, 2]);
  }
});

const planned = (kind: "mar" | "ar", flags: Partial<Parameters<typeof plannedRows>[0]> = {}) =>
  plannedRows({ ring: 1, ...flags }, configOf(kind)).map(({ task, ring, mask, asked }) => [
    `${task} ${ring}`,
    mask.reduce((a, b) => a + b, 0),
    asked.reduce((a, b) => a + b, 0),
  ]);

it("plans three tasks with two masks each", () => {
  expect(planned("mar")).toEqual([
    ["inpaint 0", 16, 16],
    ["inpaint 1", 64, 16],
    ["outpaint 0", 32, 32],
    ["outpaint 1", 48, 32],
    ["uncrop 0", 48, 48],
    ["uncrop 1", 64, 48],
  ]);
});

it("skips masks that an AR model cannot follow, and says so; requested explicitly, they are an error", () => {
  const lower = [
    ["outpaint 0", 32, 32],
    ["outpaint 1", 48, 32],
  ];
  const said: string[] = [];
  const onLeftOut = (task: string, { message }: Error) => void said.push(`${task}: ${message}`);
  expect(planned("ar", { onLeftOut })).toEqual(lower);
  expect(said.map((line) => /^(\w+): mask: the first level/.exec(line)?.[1])).toEqual(["inpaint", "uncrop"]);
  expect(() => planned("ar", { task: "inpaint" })).toThrow(/^mask: the first level .*raster order/);
  expect(() => planned("ar", { given: "left" })).toThrow(/^mask: the first level .*raster order/);
  expect(() => planned("mar", { extent: 8 })).toThrow(/^extent: expected less than the image's 8 pixels, got 8/);
});
