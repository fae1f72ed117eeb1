/** `fractalgen evaluate likelihood` with a tiny random model: results, resuming and errors. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { writeModelFolder } from "../files/model.ts";
import { startingState } from "../train/state.ts";
import { call } from "./test-call.ts";

const config = parseModelConfig(
  {
    imageSize: 8,
    classes: ["a", "b"],
    levels: [
      { kind: "mar", patch: 4, width: 16, depth: 1, heads: 2 },
      { kind: "ar", patch: 1, width: 16, depth: 1, heads: 2 },
      { kind: "pixel", width: 16, depth: 1, heads: 2 },
    ],
  },
  "the test",
);

let folder = "";
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-evaluate-"));
  await writeModelFolder(at("model"), config, startingState(config, 3, { ema: 0 }).values);
  for (const name of ["a", "b"]) {
    mkdirSync(at(`data/${name}`), { recursive: true });
    for (let i = 0; i < 6; i++) {
      const data = Uint8Array.from({ length: 192 }, (_, at) => (at * (i + 3) * (name === "a" ? 7 : 11)) % 256);
      await sharp(data, { raw: { width: 8, height: 8, channels: 3 } }).toFile(at(`data/${name}/${i}.png`));
    }
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const evaluate = (...args: string[]) => {
  const common = ["--model", at("model"), "--data", at("data"), "--cache", at("cache"), "--held-out", "0.5"];
  return call("evaluate", "likelihood", ...common, ...args);
};

describe("evaluate likelihood", () => {
  it("prints bits per dimension with standard errors, by channel and class, and names the kind of likelihood", async () => {
    const { code, out } = await evaluate("--json", "--passes", "3");
    expect(code).toBe(0);
    const found = JSON.parse(out);
    expect(found).toMatchObject({ kind: "estimate", passes: 3, conditional: false, images: found.count });
    expect(found.bits).toBeGreaterThan(7);
    expect(found.error).toBeGreaterThan(0);
    expect(found.channels).toHaveLength(3);
    expect(Object.keys(found.classes)).toEqual(["a", "b"]);
    expect(found.classes.a.count + found.classes.b.count).toBe(found.count);
    const { out: told } = await evaluate("--order", "--conditional");
    expect(told).toMatch(/exact for one random generation order each, with their classes/);
    expect(told).toMatch(/all +\d\.\d{4} ± \d\.\d{4} +\d+ images/);
  });

  it("resumes from the lines of an interrupted run, and refuses the lines of a different run", async () => {
    const file = at("images.jsonl");
    const first = await evaluate("--json", "--per-image", file);
    const text = readFileSync(file, "utf8");
    const lines = text.trimEnd().split("\n");
    expect(lines).toHaveLength(1 + JSON.parse(first.out).count);
    expect(JSON.parse(lines[1])).toMatchObject({ name: expect.stringMatching(/\.png$/), class: expect.any(String) });
    // As if the process had been killed while writing the fourth line.
    writeFileSync(file, text.slice(0, lines.slice(0, 3).join("\n").length + 20));
    expect(JSON.parse((await evaluate("--json", "--per-image", file)).out).bits).toBeCloseTo(
      JSON.parse(first.out).bits,
      6,
    );
    expect(readFileSync(file, "utf8").trimEnd().split("\n")).toHaveLength(lines.length);
    const other = await evaluate("--json", "--per-image", file, "--order");
    expect(other.code).toBe(2);
    expect(other.err).toMatch(/--per-image: .*images\.jsonl was written with a different model, data or options/);
    expect(readFileSync(file, "utf8").trimEnd().split("\n")).toHaveLength(lines.length);
  });

  it("--chart draws calibration, bits by channel and bits by the known share, and adds them to the JSON", async () => {
    const { code, out } = await evaluate("--json", "--order", "--chart", at("likelihood.svg"));
    expect(code).toBe(0);
    const { bits, calibration, levels } = JSON.parse(out);
    expect(calibration.channels).toHaveLength(3);
    expect(calibration.bins.reduce((sum: number, { share }: { share: number }) => sum + share, 0)).toBeCloseTo(1, 6);
    for (const { points } of levels) {
      const mean = points.reduce((sum: number, one: { share: number; bits: number }) => sum + one.share * one.bits, 0);
      expect(mean).toBeCloseTo(bits, 4); // the average over patches equals the average over images
    }
    const svg = readFileSync(at("likelihood.svg"), "utf8");
    for (const text of ["Calibration", "Bits per dimension", "green", "level 2: pixels"]) expect(svg).toContain(text);
    const file = at("chart.jsonl");
    await evaluate("--json", "--per-image", file);
    const after = await evaluate("--json", "--per-image", file, "--chart", at("after.svg"));
    expect([after.code, after.err]).toEqual([
      2,
      expect.stringMatching(/--chart: .*chart\.jsonl has \d+ images from an earlier run/),
    ]);
  });

  it.each([
    ["an unknown part", ["--part", "test"], /--part: expected held-out or train, got "test"/],
    ["no passes", ["--passes", "0"], /--passes/],
    ["a file name with another ending", ["--per-image", "lines.csv"], /--per-image: .*\.jsonl.*"lines\.csv"/],
    ["an unknown option", ["--pases", "2"], /unknown option '--pases'; did you mean --passes\?/],
    ["other data", ["--data", "nowhere"], /nowhere/],
  ])("refuses %s in one sentence", async (_, args, sentence) => {
    const { code, err, out } = await evaluate(...args);
    expect(code).toBe(2);
    expect(err).toMatch(sentence);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect(out).toBe("");
  });

  it("refuses classes other than the model's only if the classes matter", async () => {
    mkdirSync(at("other/c"), { recursive: true });
    for (const name of ["a/0", "a/1", "b/0", "b/1"])
      writeFileSync(at(`other/c/${name.replace("/", "")}.png`), readFileSync(at(`data/${name}.png`)));
    expect((await evaluate("--data", at("other"), "--json")).code).toBe(0);
    const { code, err } = await evaluate("--data", at("other"), "--conditional");
    expect(code).toBe(2);
    expect(err).toMatch(/the classes of .* differ from the model's/);
  });
});
