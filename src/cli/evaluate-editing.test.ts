/** `fractalgen evaluate editing` on tiny random models and a folder of pictures: what it measures, and of which masks. */

import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { writeModelFolder } from "../files/model.ts";
import { startingState } from "../train/checkpoint.ts";
import { run } from "./program.ts";

let folder = "";
const at = (name: string) => join(folder, name);

async function tiny(name: string, kind: "mar" | "ar"): Promise<void> {
  const size = { width: 16, depth: 1, heads: 2 };
  const levels = [
    { kind, patch: 2, ...size },
    { kind, patch: 1, ...size },
    { kind: "pixel", ...size },
  ];
  const config = parseModelConfig({ name, imageSize: 8, classes: ["pictures"], levels }, "the test");
  await writeModelFolder(at(name), config, startingState(config, 3, { ema: 0 }).values);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-evaluate-editing-"));
  mkdirSync(at("pictures"));
  for (let i = 0; i < 6; i++) {
    const data = Buffer.from(Uint8Array.from({ length: 192 }, (_, at) => (at * (i + 3) * 7) % 256));
    await sharp(data, { raw: { width: 8, height: 8, channels: 3 } })
      .png()
      .toFile(at(`pictures/${i}.png`));
  }
  await Promise.all([tiny("mar", "mar"), tiny("ar", "ar")]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function editing(model: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: "", err: "" };
  const spies = [
    vi.spyOn(console, "log").mockImplementation((line: string) => void (said.out += `${line}\n`)),
    vi.spyOn(console, "error").mockImplementation((line: string) => void (said.err += `${line}\n`)),
    vi.spyOn(process.stderr, "write").mockImplementation(() => true),
  ];
  const data = ["--data", at("pictures"), "--held-out", "0.5", "--cache", at("cache"), "--threads", "1"];
  try {
    return { code: await run(["evaluate", "editing", "--model", at(model), ...data, ...args]), ...said };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

it("measures seams and bits of three tasks, each without and with a ring", async () => {
  const { code, out } = await editing("mar", "--json");
  expect(code).toBe(0);
  const { rows, images, classes } = JSON.parse(out);
  expect([images, classes]).toEqual([2, true]);
  expect(rows.map(({ task, ring, drawn }: Record<string, unknown>) => [task, ring, drawn])).toEqual([
    ["inpaint", 0, 16 / 64],
    ["inpaint", 1, 1],
    ["outpaint", 0, 32 / 64],
    ["outpaint", 1, 48 / 64],
    ["uncrop", 0, 48 / 64],
    ["uncrop", 1, 1],
  ]);
  for (const { ring, drawn, seam, originalSeam, toOriginal, atMask, bits, originalBits } of rows) {
    expect(atMask === undefined).toBe(ring === 0);
    if (drawn < 1) for (const { ratio } of [seam, originalSeam, toOriginal]) expect(ratio).toBeGreaterThan(0.1);
    if (ring > 0) expect(atMask.seam.ratio).toBeGreaterThan(0.1);
    // An untrained model finds all bytes about equally likely.
    for (const { bits: one, count } of [bits, originalBits]) expect([Math.round(one), count]).toEqual([8, 2]);
  }
});

it("leaves out what an AR model cannot follow, and says so", async () => {
  const { code, out, err } = await editing("ar");
  expect(code).toBe(0);
  expect(err).toMatch(/^inpaint is left out: mask: .*\nuncrop is left out: mask: .*autoregressive/m);
  expect(out).toMatch(/^ar: 2 held-out images of pictures edited with their classes, seed 0\n/);
  expect(out).toMatch(/outpaint +50% +[\d.]+ ± .*\n {2}outpaint, ring of 1 +75% .*\n {4}at the mask's border /);
  const asked = await editing("ar", "--task", "inpaint");
  expect([asked.code, asked.out]).toEqual([2, ""]);
  expect(asked.err).toMatch(/^error: mask: level 1 .*\n$/);
});
