/** `fractalgen sample` with a tiny random model: its output files and error messages. */

import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { writeModelFolder } from "../files/model.ts";
import { readPngText } from "../pictures/pngtext.ts";
import { startingState } from "../train/state.ts";
import { commandLine } from "./program.ts";
import { built } from "../test-program.ts";
import { call } from "./test-call.ts";
import { started } from "./test-run.ts";
import { filesOf } from "../queue/test-queue.ts";
import { thorough } from "../test-depth.ts";

const config: ModelConfig = parseModelConfig(
  {
    name: "tiny",
    imageSize: 8,
    classes: ["face", "heart", "flag"],
    levels: [
      { kind: "mar", patch: 4, width: 16, depth: 1, heads: 2 },
      { kind: "ar", patch: 1, width: 16, depth: 1, heads: 2 },
      { kind: "pixel", width: 16, depth: 1, heads: 2 },
    ],
  },
  "the test",
);

let folder = "";
let model = "";
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-cli-"));
  model = at("model");
  await writeModelFolder(model, config, startingState(config, 3, { ema: 0 }).values);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const sample = (...args: string[]) => call("sample", "--model", model, ...args);

it.runIf(thorough)(
  "a model whose files are symbolic links, as in Hugging Face's cache, is used like any other",
  async () => {
    const snapshot = at("hub/snapshots/main");
    for (const name of ["hub/blobs", "hub/snapshots/main"]) mkdirSync(at(name), { recursive: true });
    for (const [i, name] of readdirSync(model).entries()) {
      cpSync(join(model, name), at(`hub/blobs/${i}`));
      symlinkSync(`../../blobs/${i}`, join(snapshot, name));
    }
    for (const [name, from] of Object.entries({ linked: snapshot, plain: model }))
      expect(await call("sample", "--model", from, "-n", "2", "--out", at(`${name}.png`))).toMatchObject({ code: 0 });
    const pixels = (name: string) => sharp(at(name)).raw().toBuffer();
    expect(await pixels("linked.png")).toEqual(await pixels("plain.png"));
  },
);

describe("sample", () => {
  it("writes a grid with model, class, seed and options in its metadata, and creates the folder", async () => {
    const out = at("new/folder/grid.png");
    const { code, out: said } = await sample(
      "--class",
      "heart,0",
      "-n",
      "4",
      "--seed",
      "7",
      "--guidance",
      "2",
      "--out",
      out,
    );
    expect(code).toBe(0);
    expect(said).toBe(`${out}\n`);
    const png = readFileSync(out);
    expect((await sharp(png).metadata()).width).toBeGreaterThan(100);
    const text = readPngText(png);
    expect(text).toMatchObject({ Model: "tiny", Class: "heart,face", Seed: "7", Count: "4" });
    // Settings that are off are not written, so that files with default settings stay the same when a setting is added.
    const names = ["guidance", "schedule", "temperature", "filterThreshold", "iterations", "device"];
    expect(Object.keys(JSON.parse(text.Options))).toEqual(names);
    expect(JSON.parse(text.Options)).toMatchObject({
      guidance: 2,
      schedule: "linear",
      iterations: [4, 16],
      device: "cpu",
    });
  });

  it.runIf(thorough)("writes the same bytes when repeated, and the same images in other batch sizes", async () => {
    const images = async (name: string, ...args: string[]) => {
      await sample("-n", "5", "--out", at(`${name}.png`), "--each", at(name), ...args);
      return readdirSync(at(name)).map((file) => [file, readFileSync(join(at(name), file)).toString("base64")]);
    };
    const first = await images("a");
    expect(first.map(([file]) => file)).toEqual([
      "0-face.png",
      "1-heart.png",
      "2-flag.png",
      "3-face.png",
      "4-heart.png",
    ]);
    expect(await images("b")).toEqual(first);
    expect(await images("c", "--batch", "2")).toEqual(first);
    expect(await images("d", "--threads", "1")).toEqual(first);
    expect(await images("e", "--memory", "300MB")).toEqual(first);
    expect(await images("f", "--seed", "1")).not.toEqual(first);
    expect(readFileSync(at("a.png"))).toEqual(readFileSync(at("b.png")));
    expect((await sharp(join(at("a"), "0-face.png")).metadata()).width).toBe(8);
  });

  it.each(["webp", "gif"])("animates how the fractal fills in, as %s", async (ending) => {
    const film = at(`film.${ending}`);
    expect((await sample("-n", "2", "--out", at("film.png"), "--animate", film)).code).toBe(0);
    const { pages, format } = await sharp(film, { animated: true }).metadata();
    expect(format).toBe(ending);
    expect(pages).toBeGreaterThan(4);
  });

  it("reports everything in one line of JSON", async () => {
    const { out } = await sample("-n", "2", "--json", "--class", "flag", "--out", at("json.png"));
    expect(out.trim().split("\n")).toHaveLength(1);
    expect(JSON.parse(out)).toMatchObject({ out: at("json.png"), classes: ["flag", "flag"], seed: 0, device: "cpu" });
  });

  it("accepts groups by name, and treats a group as one class if none is given", async () => {
    const grouped = at("grouped");
    mkdirSync(grouped);
    for (const file of readdirSync(model)) writeFileSync(join(grouped, file), readFileSync(join(model, file)));
    changeConfig(grouped, { groups: { drawn: ["heart", "flag"] } });
    const classes = async (...args: string[]) => {
      const { out } = await call(
        "sample",
        "--model",
        grouped,
        "-n",
        "4",
        "--json",
        "--out",
        at("grouped.png"),
        ...args,
      );
      return JSON.parse(out).classes as string[];
    };
    expect(await classes("--class", "drawn")).toEqual(["heart", "flag", "heart", "flag"]);
    expect(await classes("--class", "Drawn,face")).toEqual(["heart", "face", "flag", "face"]);
    expect(await classes()).toEqual(["face", "heart", "face", "flag"]);
  });

  it("has an example in every command's help", async () => {
    const program = await commandLine();
    for (const command of [program, ...program.commands]) {
      let help = "";
      command.configureOutput({ writeOut: (text) => void (help += text) }).outputHelp();
      expect(help).toMatch(/Examples?:\n {2}fractalgen/);
    }
  });
});

describe("prints one sentence and exits with code 2 for", () => {
  const untouched = "before";
  const bad: [what: string, args: string[], sentence: RegExp][] = [
    ["an unknown command", ["sampel"], /unknown command 'sampel'; did you mean sample\?/],
    ["an unknown option", ["sample", "--gidance", "2"], /unknown option '--gidance'; did you mean --guidance\?/],
    ["an unknown model", ["sample", "--model", "emojy"], /no model "emojy"/],
    ["an unknown class", ["--class", "hart"], /no class "hart"; did you mean "heart"\?/],
    ["a class number out of range", ["--class", "3"], /no class "3".*from 0 to 2/],
    ["an empty class", ["--class", ""], /--class/],
    ["a count that is not a number", ["-n", "many"], /--count: .*whole number.*"many"/],
    ["a count of zero", ["-n", "0"], /--count: .*from 1.*"0"/],
    ["a fractional seed", ["--seed", "1.5"], /--seed: .*whole number.*"1\.5"/],
    ["negative guidance", ["--guidance", "-3"], /--guidance/],
    ["guidance that is not a number", ["--guidance", "strong"], /--guidance: .*number.*"strong"/],
    ["a temperature of zero", ["--temperature", "0"], /--temperature: .*above 0.*"0"/],
    ["a threshold above one", ["--filter-threshold", "2"], /--filter-threshold: .*from 0 to 1.*"2"/],
    ["an unknown schedule", ["--schedule", "cosine"], /--schedule: .*linear.*constant/],
    ["the wrong number of iterations", ["--iterations", "4"], /--iterations: expected 2 numbers/],
    ["iterations that are not numbers", ["--iterations", "4,x"], /--iterations: .*"x"/],
    ["an output that is not a PNG", ["--out", "grid.jpg"], /--out: .*\.png.*"grid\.jpg"/],
    ["an unsupported animation format", ["--animate", "film.mp4"], /--animate: .*\.webp or \.gif.*"film\.mp4"/],
    ["an unknown device", ["--device", "tpu"], /--device: .*cpu.*"tpu"/],
    [
      "too little memory",
      ["--memory", "100MB"],
      /takes about \d+ MB of memory even for one image.* 100 MB is available;/,
    ],
    ["memory that is not an amount", ["--memory", "much"], /--memory: .*3GB.*"much"/],
    ["a count out of range", ["-n", "1000000"], /--count: .*from 1 to 100000.*"1000000"/],
  ];
  it.each(bad)("%s", async (_, args, sentence) => {
    const known = args[0] === "sample" || args[0] === "sampel" ? args : ["sample", "--model", model, ...args];
    const { code, err, out } = await call(...known);
    expect(code).toBe(2);
    expect(err).toMatch(sentence);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect(err).not.toMatch(/\n\s+at /);
    expect(out).toBe("");
  });

  const broken: [what: string, spoil: (dir: string) => void, sentence: RegExp][] = [
    ["no config.json", (dir) => rmSync(join(dir, "config.json")), /no config\.json/],
    ["no weights", (dir) => rmSync(join(dir, "model.safetensors")), /model\.safetensors/],
    [
      "truncated weights",
      (dir) => truncateSync(join(dir, "model.safetensors"), 9000),
      /model\.safetensors.*(truncated|incomplete|ends|beyond)/,
    ],
    ["a config that is not JSON", (dir) => writeFileSync(join(dir, "config.json"), "{"), /config\.json is not JSON/],
    [
      "patches that do not divide the image",
      (dir) => changeConfig(dir, { imageSize: 10 }),
      /patch 4 does not divide the 10 pixels/,
    ],
    [
      "an unknown key",
      (dir) => changeConfig(dir, { imagesize: 8 }),
      /unknown key "imagesize"; did you mean "imageSize"\?/,
    ],
    [
      "tensors of other shapes",
      (dir) => changeConfig(dir, { classes: ["a", "b"] }),
      /class_emb\.weight is \[3, 16\], expected \[2, 16\]/,
    ],
  ];
  it.each(broken)("a model with %s", async (what, spoil, sentence) => {
    const dir = at(`broken ${what}`);
    mkdirSync(dir);
    for (const file of readdirSync(model)) writeFileSync(join(dir, file), readFileSync(join(model, file)));
    spoil(dir);
    writeFileSync(at("kept.png"), untouched);
    const { code, err } = await call("sample", "--model", dir, "--out", at("kept.png"));
    expect(code).toBe(2);
    expect(err).toMatch(sentence);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect(readFileSync(at("kept.png"), "utf8")).toBe(untouched);
  });

  it("an output below a file", async () => {
    writeFileSync(at("file"), "");
    const { code, err } = await sample("--out", at("file/grid.png"));
    expect(code).toBe(2);
    expect(err).toMatch(/--out: .*is a file, but a folder is needed/);
  });
});

function changeConfig(dir: string, change: object): void {
  const path = join(dir, "config.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...change }));
}

describe("as a program", () => {
  const node = (...args: string[]) => [process.execPath, built("cli/main"), ...args];

  it.runIf(thorough)("stops at Ctrl-C and writes nothing", async () => {
    const out = at("stopped.png");
    const [program, ...args] = node("sample", "--model", model, "-n", "40000", "--out", out);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let err = "";
    child.stderr.on("data", (part) => {
      err += part;
      if (/%/.test(String(part))) child.kill("SIGINT");
    });
    const code = await new Promise((resolve) => {
      child.on("close", resolve);
    });
    expect(err).toMatch(/stopped; nothing was written/);
    expect(code).toBe(130);
    expect(existsSync(out)).toBe(false);
  });

  it("goes on from the images of --each after a kill, and draws no image twice", async () => {
    const drawing = (out: string) =>
      `--model ${model} -n 40 --batch 4 --each ${at(out)} --out ${at(out)}.png --threads 1`.split(" ");
    const run = started(process.execPath, [built("cli/main"), "sample", ...drawing("killed")]);
    await expect.poll(() => existsSync(at("killed/03-face.png")), { timeout: 120_000, interval: 5 }).toBe(true);
    run.child.kill("SIGKILL");
    expect((await run.ended).code).toBe(137);
    expect(existsSync(at("killed.png"))).toBe(false);
    const before = statSync(at("killed/00-face.png"));
    const misfit = await call("sample", ...drawing("killed"), "--seed", "1");
    expect([misfit.code, misfit.err]).toEqual([2, expect.stringMatching(/--each: .* a different model, seed, device/)]);
    expect((await call("sample", ...drawing("killed"))).code).toBe(0);
    expect(statSync(at("killed/00-face.png")).mtimeMs).toBe(before.mtimeMs);
    expect((await call("sample", ...drawing("whole"))).code).toBe(0);
    expect(filesOf(at("killed"))).toEqual(filesOf(at("whole")));
    expect(readFileSync(at("killed.png"))).toEqual(readFileSync(at("whole.png")));
  }, 180_000);

  it.runIf(thorough)(
    "draws more images into --each than a grid can show",
    async () => {
      const levels = [8, 1].map((patch) => ({ kind: "mar", patch, width: 16, depth: 1, heads: 2 }));
      const large = { ...config, imageSize: 64, levels: [...levels, { kind: "pixel", width: 16, depth: 1, heads: 2 }] };
      const wide = parseModelConfig(large, "the test");
      await writeModelFolder(at("large"), wide, startingState(wide, 3, { ema: 0 }).values);
      const args = `sample --model ${at("large")} -n 60000 --each ${at("many")} --out ${at("many.png")} --threads 1 --batch 1 --iterations 1,1`;
      const run = started(process.execPath, [built("cli/main"), ...args.split(" ")]);
      await run.says(/the grid shows the first 4\d{4} of 60000 images/);
      const written = () => existsSync(at("many")) && readdirSync(at("many")).some((name) => name.endsWith(".png"));
      await expect.poll(written, { timeout: 120_000 }).toBe(true);
      run.child.kill("SIGINT");
      const { code, err } = await run.ended;
      expect([code, err]).toEqual([
        130,
        expect.stringMatching(/stopped; repeat the command to resume from the images in/),
      ]);
    },
    180_000,
  );

  it.runIf(thorough)("draws a live preview if the terminal has colours", (context) => {
    if (spawnSync("script", ["--version"]).status !== 0)
      return context.skip("`script` is not available to create a terminal");
    const command = node("sample", "--model", model, "-n", "150", "--out", at("preview.png"))
      .map((word) => `'${word}'`)
      .join(" ");
    const { stdout } = spawnSync("script", ["-qfec", `stty rows 40 cols 100; ${command}`, "/dev/null"], {
      env: { ...process.env, TERM: "xterm-256color", COLORTERM: "truecolor", CI: undefined },
      encoding: "utf8",
    });
    // Booleans, so that a failure does not print a screenful of colours.
    expect(/\u001b\[38;2;\d+;\d+;\d+;48;2;\d+;\d+;\d+m▀/.test(stdout), "coloured half blocks").toBe(true);
    expect(/\u001b\[\d+F\u001b\[J/.test(stdout), "drawn over").toBe(true);
    expect(/\d+% {2}[\d.]+ images\/s/.test(stdout), "rate").toBe(true);
    expect(stdout.includes("150 images in"), "a clean end").toBe(true);
  });
});
