/** The program in its environment: closed pipes, full disks, terminals, signals, excessive requests and internal failures. */

import { type SpawnSyncOptions, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { writeDatasetFile } from "../data/dataset-file.ts";
import { emojiFileName } from "../data/emoji.ts";
import { writeModelFolder } from "../files/model.ts";
import { loadCheckpoint } from "../train/checkpoint.ts";
import { startingState } from "../train/state.ts";
import { tinyDataset, tinyModel } from "../train/tiny.ts";
import { reported, withoutPasswords } from "./mistakes.ts";
import { run } from "./program.ts";
import { ThreadError } from "../workers/failure.ts";
import { built } from "../test-program.ts";
import { thorough } from "../test-depth.ts";

const large: ModelConfig = parseModelConfig(
  {
    imageSize: 64,
    classes: ["one"],
    levels: [
      { kind: "ar", patch: 16, width: 8, depth: 1, heads: 2 },
      { kind: "ar", patch: 1, width: 8, depth: 1, heads: 2 },
      { kind: "pixel", width: 8, depth: 1, heads: 2 },
    ],
  },
  "the test",
);

let folder = "";
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-program-"));
  const write = (name: string, config: ModelConfig) =>
    writeModelFolder(at(name), config, startingState(config, 3, { ema: 0 }).values);
  await write("model", tinyModel({ guidingPixel: true })); // slow enough for a preview
  await write("large", large);
  await writeDatasetFile(at(emojiFileName({ size: 8 })), { ...tinyDataset(), name: "emoji" });
  const { classes: _, ...model } = tinyModel();
  await writeFile(at("config.json"), JSON.stringify({ model, training: { batch: 4, microBatch: 2, balance: 0 } }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const main = built("cli/main");
const node = (...args: string[]) => [process.execPath, main, ...args];
const quoted = (words: string[]) => words.map((word) => `'${word}'`).join(" ");
const shell = (script: string, options: SpawnSyncOptions = {}) =>
  spawnSync("sh", ["-c", script], { ...options, encoding: "utf8" });
const trainArgs = (out: string) => [
  "train",
  "--data",
  "emoji",
  "--cache",
  folder,
  "--config",
  at("config.json"),
  "--out",
  out,
  "--steps",
  "100000",
  "--threads",
  "1",
];

describe("an output without a reader", () => {
  it("does not prevent images from being written, and prints no stack trace", () => {
    const command = quoted(node("sample", "--model", at("model"), "-n", "2", "--json", "--out", at("piped.png")));
    const { stdout, stderr } = shell(`{ ${command}; echo "code $?" >&2; } | true`);
    expect([stdout, stderr]).toEqual(["", "code 0\n"]);
    expect(existsSync(at("piped.png"))).toBe(true);
  });

  it("stops training with a checkpoint", async () => {
    const { stderr } = shell(`${quoted(node(...trainArgs(at("headed")), "--json"))} | head -n 1 >/dev/null`);
    expect(stderr).toMatch(/stopped after \d+ of 100000 steps; resume with: fractalgen train --resume/);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect((await loadCheckpoint(at("headed/last"))).state.step).toBeGreaterThan(0);
  });
});

it.skipIf(!existsSync("/dev/full"))(
  "a full standard output is reported in one sentence (skipped if there is no /dev/full)",
  () => {
    const { status, stderr } = shell(`${quoted(node("--version"))} >/dev/full`);
    expect(stderr).toMatch(/^error: cannot write to standard output: ENOSPC.*\n$/);
    expect(status).toBe(2);
  },
);

const canMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).status === 0;
it.runIf(thorough && canMount)(
  "a full disk leaves the previous grid unchanged (skipped if no small disk can be mounted)",
  () => {
    mkdirSync(at("disk"));
    const out = at("disk/grid.png");
    // The disk is part of a mount namespace, which ends with the command.
    const command = quoted(node("sample", "--model", at("model"), "--columns", "1", "-n", "150", "--out", out));
    const { stdout, stderr } = spawnSync(
      "unshare",
      [
        "-rm",
        "sh",
        "-c",
        `mount -t tmpfs -o size=8k tmpfs ${at("disk")} && echo before > ${out} && ${command}; echo "code $?"; ls -A ${at("disk")}; cat ${out}`,
      ],
      { encoding: "utf8" },
    );
    expect(stderr).toMatch(
      /^error: cannot write .*grid\.png: the disk is full \(wrote .*\); .*; the previous file is untouched$/m,
    );
    expect(stdout).toBe("code 2\ngrid.png\nbefore\n");
  },
);

describe("a terminal", () => {
  it.runIf(thorough)(
    "shows a preview and removes it at the end, even if the terminal does not report its size",
    (context) => {
      if (spawnSync("script", ["--version"]).status !== 0)
        return context.skip("there is no `script` to make a terminal with");
      const command = quoted(node("sample", "--model", at("model"), "-n", "200", "--out", at("terminal.png")));
      const { stdout } = spawnSync("script", ["-qfec", command, "/dev/null"], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, TERM: "xterm-256color", COLORTERM: "truecolor", NO_COLOR: undefined, CI: undefined },
        encoding: "utf8",
        maxBuffer: 1e8, // a slow machine draws many previews
      });
      expect(stdout).toMatch(/\u001b\[38;2;\d+;\d+;\d+;48;2;\d+;\d+;\d+m▀/);
      // Every picture is removed completely: the cursor moves up by its number of lines, and everything below is cleared.
      const pieces = stdout.split(/\u001b\[(\d+)F\u001b\[J/);
      expect(pieces.length).toBeGreaterThan(3);
      for (let i = 1; i < pieces.length; i += 2) expect(pieces[i - 1].split("\n").length - 1).toBe(Number(pieces[i]));
      expect(pieces.at(-1)).toMatch(/^200 images in .*\r\n.*terminal\.png\r\n$/);
    },
  );
});

describe("signals", () => {
  it.runIf(thorough)("a Ctrl-C that arrives twice still saves a checkpoint; SIGTERM exits with 143", async () => {
    const ended = (out: string, signals: NodeJS.Signals[]) => {
      const [program, ...args] = node(...trainArgs(out), "--json");
      const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
      child.stdout.once("data", () => signals.forEach((signal) => child.kill(signal)));
      child.stdout.resume();
      return new Promise<number | null>((resolve) => child.on("close", resolve));
    };
    expect(await Promise.all([ended(at("twice"), ["SIGINT", "SIGINT"]), ended(at("terminated"), ["SIGTERM"])])).toEqual(
      [130, 143],
    );
    expect(readdirSync(at("twice/last"))).toEqual([
      "config.json",
      "model.safetensors",
      "optimizer.safetensors",
      "state.json",
    ]);
    expect(existsSync(at("terminated/last/state.json"))).toBe(true);
  });
});

describe("error messages", () => {
  async function said<T>(call: () => T): Promise<[Awaited<T>, string[]]> {
    const lines: string[] = [];
    const spy = vi.spyOn(console, "error").mockImplementation((line) => void lines.push(String(line)));
    try {
      return [await call(), lines];
    } finally {
      spy.mockRestore();
    }
  }

  it.each([
    [
      "a grid too large",
      ["-n", "100000"],
      /^error: --count: a grid of 100000 images would have \d+x\d+ pixels; the limit is 268 million\. Write each image to its own file \(--each\)/,
    ],
    [
      "an animation too large",
      ["-n", "5000", "--animate", "a.gif"],
      /^error: --animate: frames of 5000 images would have \d+x\d+ pixels; the limits are 4 million .*\. Generate fewer/,
    ],
    [
      "an animation too high",
      ["-n", "300", "--columns", "1", "--animate", "a.webp"],
      /^error: --animate: .* 16383 per side/,
    ],
    ["an empty file name", ["--animate", ""], /^error: --animate: expected a name, got an empty string$/],
    ["an empty model name", ["--model", ""], /^error: --model: expected a name, got an empty string$/],
    [
      "a folder instead of a file",
      ["--out", "folder.png/"],
      /^error: --out: folder\.png\/ is a folder; expected a file name$/,
    ],
    ["an --each that is a file", ["--each", main], /^error: --each: .*main\.js is a file, but a folder is needed/],
  ])("report %s", async (_, args, sentence) => {
    const [code, lines] = await said(() => run(["sample", "--model", at("large"), "--out", at("never.png"), ...args]));
    expect(code).toBe(2);
    expect(lines).toEqual([expect.stringMatching(sentence)]);
    expect(existsSync(at("never.png"))).toBe(false);
  });

  it.each([
    [
      "resuming with another configuration",
      ["--resume", "run", "--config", "x.json"],
      /--config: a resumed run keeps its own folder and settings; leave it out/,
    ],
    ["two folders", ["--resume", "run", "--out", "other"], /--out: a resumed run .*leave it out/],
    [
      "a folder below a file",
      ["--data", "emoji", "--out", join(main, "run")],
      /--out: .*main\.js is a file, but a folder is needed/,
    ],
    [
      "a cache below a file",
      ["--data", "emoji", "--out", "run", "--cache", join(main, "cache")],
      /--cache: .*is a file/,
    ],
    [
      "a missing configuration",
      ["--data", "emoji", "--out", "run", "--config", "/nowhere.json"],
      /\/nowhere\.json: there is no such file; check the path/,
    ],
  ])("report %s", async (_, args, sentence) => {
    const [code, lines] = await said(() => run(["train", ...args]));
    expect(code).toBe(2);
    expect(lines).toEqual([expect.stringMatching(sentence)]);
  });

  it.each([
    ["null", /config: expected object|expected object/],
    ['{"modle": {}}', /unknown key "modle"/],
    ['{"model": {"imageSize": "8"}}', /imageSize: expected number/],
    ['{"training": {"learningrate": 1}}', /unknown key "learningrate"/],
  ])("report a configuration %s", async (text, sentence) => {
    await writeFile(at("wrong.json"), text);
    const [code, lines] = await said(() =>
      run(["train", "--data", "emoji", "--out", at("never"), "--config", at("wrong.json")]),
    );
    expect(code).toBe(2);
    expect(lines).toEqual([expect.stringMatching(sentence)]);
    expect(lines[0]).not.toContain("\n");
    expect(existsSync(at("never"))).toBe(false);
  });

  it("exit with 2 and a sentence for user and system errors, with 1 and the stack trace for internal failures", async () => {
    const help = { help: "x --help" };
    expect(await said(() => reported(new UserError("what; what to do"), help))).toEqual([
      2,
      ["error: what; what to do"],
    ]);
    const system = Object.assign(new Error("EMFILE: too many open files, open 'x'"), {
      syscall: "open",
      code: "EMFILE",
    });
    expect(await said(() => reported(system, help))).toEqual([
      2,
      ["error: the operating system reported an error: EMFILE: too many open files, open 'x'"],
    ]);
    const memory = new RangeError("Array buffer allocation failed");
    expect(await said(() => reported(memory, help))).toEqual([2, [expect.stringMatching(/out of memory/)]]);
    const ours = new TypeError("x is not a function");
    expect(await said(() => reported(ours, help))).toEqual([
      1,
      [ours.stack, expect.stringMatching(/a bug in fractalgen.*report/)],
    ]);
  });

  it("report a thread's failure in one sentence and exit with 1; its stack and cause are saved for a report, or printed with --verbose", async () => {
    const cause = new TypeError("x is not a function");
    const [code, [line, ...more]] = await said(() => reported(new ThreadError(cause), { help: "" }));
    expect([code, more]).toEqual([1, []]);
    const sentence =
      "a worker thread failed: x is not a function; run the command again, and report the failure if it recurs";
    const [, details] = new RegExp(`^error: ${sentence} \\(details in (.*)\\)$`).exec(line)!;
    expect(readFileSync(details, "utf8")).toContain(cause.stack);
    rmSync(details);
    const url = "worker --queue rediss://me:pa/ss@w@host:1 --shared x";
    expect(withoutPasswords(url)).toBe("worker --queue rediss://…@host:1 --shared x");
    const [, lines] = await said(() => reported(new ThreadError(cause), { help: "", verbose: true }));
    expect(lines).toEqual([expect.stringContaining(cause.stack!), `error: ${sentence}`]);
    const memory = new ThreadError(new Error("std::bad_alloc"), { lost: true });
    const [, told] = await said(() => reported(memory, { help: "", verbose: true }));
    expect(told[1]).toMatch(/^error: a worker thread ran out of memory; use fewer --threads/);
    const mistake = new UserError("what; what to do", { cause });
    expect((await said(() => reported(mistake, { help: "", verbose: true })))[1][0]).toContain(cause.stack);
    expect(await said(() => run(["inspect", "nothing-there", "--verbose"]))).toEqual([
      2,
      [expect.stringMatching(/UserError: .*\n\s+at /), expect.stringMatching(/^error: .*nothing-there/)],
    ]);
  });
});
