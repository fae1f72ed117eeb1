/** `fractalgen convert`: its messages and output, and that an error leaves nothing behind. */

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { publishedPreset } from "../config/published.ts";
import { isCount } from "../files/inception.ts";
import { readModelFolder } from "../files/model.ts";
import { oldCheckpointBytes } from "../files/test-old-torch.ts";
import { global, pickle, reduce, text, zip } from "../files/test-torch.ts";
import { readParameters, syntheticParameter } from "../parity/features.ts";
import { configFrom } from "./conversion.ts";
import { built } from "../test-program.ts";
import { call } from "./test-call.ts";
import { thorough } from "../test-depth.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/parity/ar-3level/${name}`, import.meta.url));
const caseFile = fixture("case.json");
const { parameters } = JSON.parse(readFileSync(caseFile, "utf8"));
const last = fixture("checkpoint-last.pth");
const resumable = fixture("checkpoint-after-step0.pth");

/** The published file's layout and size, with values computed by a formula. */
function inceptionCheckpoint(): Buffer {
  const shapes = readParameters("fixtures/metrics/inception-parameters.json");
  const tensors = Object.entries(shapes).filter(([name]) => !isCount(name));
  const stored = tensors.map(([name, shape]) => {
    const values = syntheticParameter(name, shape);
    return [name, { shape, bytes: new Uint8Array(values.buffer) }];
  });
  return oldCheckpointBytes(Object.fromEntries(stored));
}

let dir: string;
let out: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "convert-cli-"));
  out = join(dir, "out");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const convert = (...args: string[]) => call("convert", ...args);

describe("convert", () => {
  it("accepts a parity case as --config; the resulting config.json gives the same model again", async () => {
    expect(await convert(last, out, "--config", caseFile)).toEqual({
      code: 0,
      out: `${out}\n`,
      err: `239k parameters, 956 kB in ${out}\n`,
    });
    const again = join(dir, "again");
    await convert(last, again, "--config", join(out, "config.json"));
    for (const file of ["config.json", "model.safetensors"])
      expect(readFileSync(join(again, file)).equals(readFileSync(join(out, file)))).toBe(true);
  });

  it("says how to resume training if there is optimiser state", async () => {
    const run = join(dir, "run");
    const { err, out: said } = await convert(resumable, join(run, "last"), "--config", caseFile);
    expect(err).toMatch(/and the optimiser's state after 1 step, 3\.8 MB in /);
    expect(err).toContain(`to resume training: fractalgen train --resume ${run} --data `);
    expect(said).toBe(`${join(run, "last")}\n`);
    expect(readModelFolder(run).folder).toBe(join(run, "last"));
  });

  it("--json prints one line, and --no-optimizer leaves out the optimiser's state", async () => {
    const { out: line, err } = await convert(resumable, out, "--config", caseFile, "--json");
    expect(JSON.parse(line)).toEqual({ out, parameters, bytes: 16 * parameters, step: 1 });
    expect(err).toBe("");
    const other = join(dir, "other");
    await convert(resumable, other, "--config", caseFile, "--no-optimizer");
    expect(readdirSync(other).sort()).toEqual(["config.json", "model.safetensors"]);
  });

  it("accepts the names of the published models", () => {
    expect(configFrom("fractalmar_in64")).toEqual(publishedPreset("fractalmar_in64"));
  });
});

describe("FID's network", () => {
  it.runIf(thorough)("is written to the given file, or by default to the cache, where it may be replaced", async () => {
    const pth = join(dir, "weights.pth");
    writeFileSync(pth, inceptionCheckpoint());
    const file = join(dir, "inception.safetensors");
    expect(await convert(pth, file, "--config", "inception")).toMatchObject({ code: 0, out: `${file}\n` });
    vi.stubEnv("XDG_CACHE_HOME", dir);
    const cached = join(dir, "fractalgen/inception.safetensors");
    for (let round = 0; round < 2; round++)
      expect(await convert(pth, "--config", "inception")).toMatchObject({ code: 0, out: `${cached}\n` });
    vi.unstubAllEnvs();
    expect(readFileSync(cached).equals(readFileSync(file))).toBe(true);
    const again = await convert(pth, file, "--config", "inception");
    expect([again.code, again.err]).toEqual([2, `error: [out]: ${file} already exists; choose a new file name\n`]);
    const folder = await convert(pth, join(dir, "folder"), "--config", "inception");
    expect(folder.err).toMatch(/\[out\]: expected .*\.safetensors/);
    const other = await convert(last, join(dir, "x.safetensors"), "--config", "inception");
    expect(other.code).toBe(2);
    expect(other.err).toMatch(/does not hold the weights of FID's Inception-v3: .*missing.*and \d+ more/);
    expect(readdirSync(dir).sort()).toEqual(["fractalgen", "inception.safetensors", "weights.pth"]);
  });

  it("is the only one whose output needs no name", async () => {
    const { code, err } = await convert(last, "--config", caseFile);
    expect([code, err]).toEqual([2, expect.stringMatching(/\[out\]: expected the name of a new folder/)]);
  });
});

describe("prints one sentence and leaves nothing behind for", () => {
  const bomb = zip({
    "x/data.pkl": pickle(reduce(global("os", "system"), text("true"))),
  });
  const mistakes: [what: string, args: (path: string) => string[], sentence: RegExp][] = [
    ["no configuration", (path) => [path, out], /--config/],
    [
      "a preset with a typo",
      (path) => [path, out, "--config", "fractalmar_in46"],
      /--config: no file or published model is named fractalmar_in46; .*; did you mean "fractalmar_in64"\?$/,
    ],
    [
      "another architecture",
      () => [last, out, "--config", "fractalar_in64"],
      /does not fit the architecture: .*missing.*; use the configuration that it was trained with/,
    ],
    ["no file", (path) => [`${path}x`, out, "--config", caseFile], /there is no such file; check the path$/],
    [
      "a file that is not a zip",
      (path) => (writeFileSync(path, "hello, world"), [path, out, "--config", caseFile]),
      /not a checkpoint, expected a zip written by torch\.save or a safetensors file/,
    ],
    [
      "a truncated checkpoint",
      (path) => (writeFileSync(path, readFileSync(last).subarray(0, 500_000)), [path, out, "--config", caseFile]),
      /the archive is truncated or damaged .*; download it again$/,
    ],
    [
      "a pickle that would run a command",
      (path) => (writeFileSync(path, bomb), [path, out, "--config", caseFile]),
      /holds an object of the class os\.system, which cannot be read, expected a dict of tensors, as saved by torch\.save\(model\.state_dict\(\), \.\.\.\)$/,
    ],
    [
      "an invalid configuration",
      (path) => (writeFileSync(path, '{"imageSize": 8}'), [last, out, "--config", path]),
      /classes/,
    ],
    ["an existing folder", () => [last, dir, "--config", caseFile], /already exists; choose a new folder name$/],
  ];
  it.each(mistakes)("%s", async (_, args, sentence) => {
    const path = join(dir, "x");
    const { code, err, out: said } = await convert(...args(path));
    expect([code, said]).toEqual([2, ""]);
    expect(err.trim()).toMatch(sentence);
    expect(err.trim()).toMatch(/^error: [^\n]*$/);
    expect(existsSync(out)).toBe(false);
    expect(readdirSync(dir).filter((name) => name !== "x")).toEqual([]);
  });

  const canMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).status === 0;
  it.skipIf(!canMount)("checks free disk space (skipped if no small disk can be mounted)", () => {
    const shell = `mount -t tmpfs -o size=512k tmpfs ${dir} && "$0" "$@"; echo $?; ls -A ${dir}`;
    const command = [process.execPath, built("cli/main"), "convert", last, out, "--config", caseFile];
    const said = execFileSync("unshare", ["-rm", "sh", "-c", `(${shell}) 2>&1`, ...command], { encoding: "utf8" });
    expect(said.replace(/5\d\d kB free/, "some kB free")).toBe(
      `error: ${out} needs 956 kB, but its disk has some kB free; free some space or choose another location\n2\n`,
    );
  });
});
