/** `fractalgen inspect` and `init`: their output for presets and folders, error messages, and the weights that init writes. */

import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { publishedPreset } from "../config/published.ts";
import { UserError } from "../core/errors.ts";
import { readModelFolder } from "../files/model.ts";
import { writeRandomModel } from "../files/random-model.ts";
import { readSafetensors } from "../files/safetensors.ts";
import { startingState } from "../train/state.ts";
import { tinyModel } from "../train/tiny.ts";
import { checkSpace } from "./space.ts";
import { call } from "./test-call.ts";

let folder = "";
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-inspect-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("init", () => {
  it("writes the weights that training starts from, tensor by tensor", async () => {
    const config = tinyModel();
    const counts: number[] = [];
    await writeRandomModel(at("random"), config, { seed: 7, onProgress: (count) => counts.push(count) });
    const { tensors } = readSafetensors(readModelFolder(at("random")).weights.path);
    expect(readModelFolder(at("random")).config).toEqual(config);
    const { values } = startingState(config, 7, { ema: 0 });
    expect([...tensors.keys()]).toEqual([...values.keys()]);
    for (const [name, value] of values) expect(tensors.get(name)!.data, name).toEqual(value);
    expect(counts.length).toBe(values.size);
    expect(counts.at(-1)).toBe([...values.values()].reduce((sum, { length }) => sum + length, 0));
  });

  it("leaves nothing behind when it is stopped", async () => {
    const stop = new AbortController();
    const onProgress = () => stop.abort();
    await expect(
      writeRandomModel(at("stopped"), tinyModel(), { seed: 7, onProgress, signal: stop.signal }),
    ).rejects.toThrow("abort");
    expect(readdirSync(folder).filter((name) => name.includes("stopped"))).toEqual([]);
  });

  it.each([
    [["fractalmar_in46", "new"], /unknown published model "fractalmar_in46".*did you mean "fractalmar_in64"\?/],
    [["fractalmar_in64", "taken"], /taken already exists; choose a new folder name/],
    [["fractalmar_in64", "file/below"], /file is a file, but a folder is needed/],
    [["fractalmar_in64", "new", "--seed", "abc"], /--seed: expected a whole number from 0 .*, got "abc"/],
    [["fractalmar_in64", "new", "--seed", "-1"], /--seed: expected a whole number from 0 .*, got "-1"/],
    [["fractalmar_in64", ""], /expected a name, got an empty string/],
    [["fractalmar_in64"], /missing required argument 'out'/],
  ])("refuses %j in one sentence", async ([preset, out, ...options], sentence) => {
    await mkdir(at("taken"), { recursive: true });
    writeFileSync(at("file"), "");
    const { code, err } = await call("init", preset, ...(out === undefined ? [] : [out && at(out)]), ...options);
    expect(code).toBe(2);
    expect(err).toMatch(sentence);
    expect(err.trimEnd()).not.toContain("\n");
    expect(existsSync(at("new"))).toBe(false);
  });

  it("needs enough free disk space", async () => {
    await checkSpace(at("not/there/yet"), 1);
    await expect(checkSpace(at("not/there/yet"), 1e18)).rejects.toThrow(UserError);
    await expect(checkSpace(at("not/there/yet"), 1e18)).rejects.toThrow(
      /yet needs 1000000000\.00 GB, but its disk has .* free; free some space or choose another location$/,
    );
  });
});

describe("inspect", () => {
  it("shows a preset's levels as in the paper's table", async () => {
    const { code, out } = await call("inspect", "fractalmar_large_in256");
    expect(code).toBe(0);
    const rows = out.split("\n").map((line) => line.trim().split(/\s+/));
    expect(rows.filter(([first]) => /^(\d|all)$/.test(first))).toEqual([
      ["1", "mar", "1", "256", "32", "1024", "16", "406M", "403M", "215", "219"],
      ["2", "mar", "256", "16", "8", "512", "8", "26.6M", "25.2M", "208", "280"],
      ["3", "mar", "4096", "16", "4", "256", "4", "4.06M", "3.16M", "418", "563"],
      ["4", "pixel", "65536", "3", "1", "64", "4", "0.12M", "0.050M", "21.3", "27.7"],
      ["all", "437M", "432M", "862", "1090"],
    ]);
    expect(out).toMatch(/weights +would be 1\.75 GB on disk, float32/);
    expect(out).toMatch(
      /guidance 21, schedule linear, temperature 1\.1, filter threshold 0\.0001, iterations 64,16,16\n/,
    );
  });

  it("prints the same as JSON", async () => {
    const { out } = await call("inspect", "fractalmar_in64", "--json");
    const found = JSON.parse(out);
    expect(found).toMatchObject({
      name: "fractalmar_in64",
      imageSize: 64,
      classes: 1000,
      parameters: 431_995_648,
      bytes: 4 * 431_995_648,
      sampling: publishedPreset("fractalmar_in64").sampling,
    });
    const sum = (key: string) => found.levels.reduce((total: number, level: never) => total + level[key], 0);
    for (const key of ["parameters", "operations", "likelihoodOperations"]) expect(found[key]).toBe(sum(key));
  });

  it("shows a folder with the size of its weights, and checks them", async () => {
    const config = tinyModel();
    await writeRandomModel(at("model"), config, { seed: 1 });
    const { weights } = readModelFolder(at("model"));
    const { out } = await call("inspect", at("model"), "--json");
    expect(JSON.parse(out)).toMatchObject({ folder: at("model"), bytes: readFileSync(weights.path).length });
    expect((await call("quantize", at("model"), at("half"), "--dtype", "float16")).code).toBe(0);
    expect((await call("inspect", at("half"))).out).toMatch(/on disk, float32 stored as F16/);

    writeFileSync(at("model/config.json"), JSON.stringify({ ...config, classes: ["one more", ...config.classes] }));
    expect((await call("inspect", at("model"))).err).toMatch(/does not fit its config\.json: class_emb\.weight is \[/);
    truncateSync(weights.path, 1000);
    expect((await call("inspect", at("model"))).err).toMatch(/truncated/);
  });

  it.each([
    [
      "fractalmar_in46",
      /^error: <preset\|dir>: there is no model "fractalmar_in46".*did you mean "fractalmar_in64"\?\n$/,
    ],
    [tmpdir(), /is not a model folder: it has no config\.json/],
    ["", /expected a name, got an empty string/],
  ])("refuses %j in one sentence", async (name, sentence) => {
    const { code, out, err } = await call("inspect", name);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(sentence);
  });
});
