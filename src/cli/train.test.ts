/** `fractalgen train` on a tiny data set in the place of the rendered emoji: logs, resuming, and mistakes. */

import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeDatasetFile } from "../data/dataset-file.ts";
import { emojiFileName } from "../data/emoji.ts";
import { readModelFolder } from "../files/model.ts";
import { loadCheckpoint } from "../train/checkpoint.ts";
import { tinyDataset, tinyModel } from "../train/tiny.ts";

let folder = "";
const at = (name: string) => join(folder, name);
const main = fileURLToPath(new URL("./main.ts", import.meta.url));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fractalgen-train-cli-"));
  await writeDatasetFile(at(emojiFileName({ size: 8 })), { ...tinyDataset(), name: "emoji" });
  const { classes: _, ...model } = tinyModel();
  writeFileSync(
    at("config.json"),
    JSON.stringify({ model, training: { batch: 4, microBatch: 2, warmup: 2, evaluateSteps: 5, balance: 0 } }),
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the program; `onOut` sees its output as it comes. */
function program(
  args: string[],
  onOut: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Ended> {
  const child = spawn(process.execPath, [
    "--import",
    "tsx",
    main,
    "train",
    "--cache",
    folder,
    "--threads",
    "1",
    ...args,
  ]);
  const said = { out: "", err: "" };
  child.stdout.on("data", (part) => {
    said.out += part;
    onOut(String(part), (signal) => child.kill(signal));
  });
  child.stderr.on("data", (part) => (said.err += part));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, ...said })));
}

const fresh = (out: string, steps: number) => [
  "--data",
  "emoji",
  "--config",
  at("config.json"),
  "--out",
  out,
  "--steps",
  String(steps),
];
const records = (text: string): { kind: string; step: number; loss?: number }[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

it("trains, stops at Ctrl-C with a checkpoint, and goes on to what an uninterrupted run gives", async () => {
  const whole = await program([...fresh(at("whole"), 12), "--json"]);
  expect(whole.code).toBe(0);
  expect(records(whole.out).filter(({ kind }) => kind === "step")).toHaveLength(12);
  expect(readFileSync(at("whole/log.jsonl"), "utf8")).toBe(whole.out);

  let stopped = false;
  const first = await program([...fresh(at("run"), 12), "--json"], (text, kill) => {
    if (!stopped && text.includes('"step":4,')) kill("SIGINT");
    stopped ||= text.includes('"step":4,');
  });
  expect(first.err).toMatch(/go on with: fractalgen train --resume/);
  const { state } = await loadCheckpoint(at("run/last"));
  expect(state.step).toBeGreaterThanOrEqual(4);
  expect(state.step).toBeLessThan(12);

  const second = await program(["--resume", at("run"), "--json"]);
  expect(second.code).toBe(0);
  const losses = (text: string) => records(text).flatMap(({ kind, loss }) => (kind === "step" ? [loss] : []));
  expect([...losses(first.out), ...losses(second.out)]).toEqual(losses(whole.out));
  expect(readFileSync(at("run/last/model.safetensors"))).toEqual(readFileSync(at("whole/last/model.safetensors")));
  expect(readModelFolder(at("run")).config.classes).toEqual(["dark", "light"]);
});

it("loses nothing before the last checkpoint when it is killed at any moment", async () => {
  const out = at("killed");
  let steps = 0;
  for (let round = 0; round < 3; round++) {
    const args = existsSync(join(out, "last")) ? ["--resume", out, "--json"] : [...fresh(out, 100_000), "--json"];
    const kill = 3 + 5 * round;
    let seen = 0;
    await program([...args, "--checkpoint-seconds", "0.1"], (text, signal) => {
      seen += text.split("\n").length - 1;
      if (seen > kill) signal("SIGKILL");
    });
    if (!existsSync(join(out, "last")) && !existsSync(join(out, "last.old"))) continue;
    const { state } = await loadCheckpoint(join(out, "last"));
    expect(state.step).toBeGreaterThanOrEqual(steps);
    steps = state.step;
  }
  expect(steps).toBeGreaterThan(0);
});

it.each([
  ["nowhere to write", ["--data", "emoji"], /--out DIR/],
  ["no data", ["--out", "/tmp/never"], /--data/],
  ["an unknown data set", ["--out", "/tmp/never", "--data", "emojis"], /no data set "emojis".*did you mean "emoji"\?/],
  ["nothing to resume", ["--resume", "/tmp/nothing-here"], /no checkpoint/],
  ["a learning rate of zero", ["--learning-rate", "0"], /--learning-rate: .*above 0.*"0"/],
  ["steps that are no number", ["--steps", "many"], /--steps: .*whole number.*"many"/],
])("a mistake gets one sentence and exit code 2: %s", async (_, args, sentence) => {
  const { code, err } = await program(args);
  expect(code).toBe(2);
  expect(err).toMatch(sentence);
  expect(err.trim().split("\n")).toHaveLength(1);
});

it("a resumed run keeps its batch, and a folder in use is not overwritten", async () => {
  const other = await program(["--resume", at("whole"), "--batch", "8", "--steps", "20"]);
  expect(other.code).toBe(2);
  expect(other.err).toMatch(/started with 4 and cannot go on with 8/);
  const again = await program(fresh(at("whole"), 3));
  expect(again.code).toBe(2);
  expect(again.err).toMatch(/already holds a run/);
});
