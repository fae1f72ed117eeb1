/** Training runs of about a second as child processes, for tests of signals and other outside events. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { writeDatasetFile } from "../data/dataset-file.ts";
import { emojiFileName } from "../data/emoji.ts";
import { built } from "../test-program.ts";
import { tinyDataset, tinyModel } from "../train/tiny.ts";

export interface Ended {
  /** By shell convention: 128 plus the signal's number if a signal ended it. */
  code: number;
  out: string;
  err: string;
}

export interface Running {
  child: ChildProcess;
  /** Resolves when the output matches the pattern. */
  says(pattern: RegExp): Promise<void>;
  /** What it has printed so far. */
  printed(): string;
  /** What the first group of a pattern is in the output, once it is there. */
  found(pattern: RegExp): Promise<string>;
  ended: Promise<Ended>;
}

/** Starts a program and captures its output. */
export function started(
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Running {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const said = { out: "", err: "" };
  const waiting = new Set<() => void>();
  const add = (to: "out" | "err") => (part: Buffer) => {
    said[to] += String(part);
    for (const look of waiting) look();
  };
  child.stdout.on("data", add("out"));
  child.stderr.on("data", add("err"));
  const ended = new Promise<Ended>((resolve) =>
    child.on("close", (code, signal) => resolve({ code: code ?? 128 + constants.signals[signal!], ...said })),
  );
  const says = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!pattern.test(said.out + said.err)) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
      void ended.then(({ code, err }) => reject(new Error(`ended with ${code} before it said ${pattern}: ${err}`)));
    });
  const found = async (pattern: RegExp) => {
    await says(pattern);
    return pattern.exec(said.out + said.err)![1];
  };
  return { child, says, printed: () => said.out + said.err, found, ended };
}

export interface TestRuns {
  folder: string;
  at(name: string): string;
  /** The options for a new run. */
  fresh(out: string, steps: number): string[];
  train(...args: string[]): Running;
  remove(): void;
}

export async function testRuns(): Promise<TestRuns> {
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-runs-"));
  const at = (name: string) => join(folder, name);
  await writeDatasetFile(at(emojiFileName({ size: 8 })), { ...tinyDataset(), name: "emoji" });
  const { classes: _, ...model } = tinyModel();
  const training = { batch: 4, microBatch: 2, warmup: 2, evaluateSteps: 1000, balance: 0 };
  writeFileSync(at("config.json"), JSON.stringify({ model, training }));
  return {
    folder,
    at,
    fresh: (out, steps) => ["--data", "emoji", "--config", at("config.json"), "--out", out, "--steps", String(steps)],
    train: (...args) =>
      started(process.execPath, [
        built("cli/main"),
        "train",
        "--cache",
        folder,
        "--threads",
        "1",
        "--no-samples",
        "--json",
        ...args,
      ]),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
