/** Every signal that stops training leaves a checkpoint, also through npm. */

import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { writeModelFolder } from "../files/model.ts";
import { noRedis, testQueue } from "../queue/test-queue.ts";
import { firstOf, thorough } from "../test-depth.ts";
import { built } from "../test-program.ts";
import { loadCheckpoint } from "../train/checkpoint.ts";
import { startingState } from "../train/state.ts";
import { tinyModel } from "../train/tiny.ts";
import { stopSignals } from "./interrupt.ts";
import { type Running, started, type TestRuns, testRuns } from "./test-run.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
let runs: TestRuns;
beforeAll(async () => {
  runs = await testRuns();
  await writeModel(runs.at("tiny"), tinyModel());
  const small = { kind: "ar", width: 4, heads: 1 };
  const pixel = { kind: "pixel", width: 4, depth: 1, heads: 1 };
  const model = (name: string, imageSize: number, levels: object[]) =>
    writeModel(runs.at(name), parseModelConfig({ imageSize, classes: ["a"], levels: [...levels, pixel] }, "the test"));
  await model("slow", 64, [{ ...small, patch: 1, depth: 1 }]); // draws in 4096 steps
  await model(
    "deep",
    4,
    [2, 1].map((patch) => ({ ...small, patch, depth: 256 })),
  ); // has thousands of tensors
});
afterAll(() => runs.remove());

const writeModel = (folder: string, model: ModelConfig) =>
  writeModelFolder(folder, model, startingState(model, 1, { ema: 0 }).values);
const stepOf = async (out: string) => (await loadCheckpoint(join(out, "last"))).state.step;

it.each(firstOf(stopSignals))("%s stops training with a checkpoint and its own exit code", async (signal) => {
  const out = runs.at(signal);
  const run = runs.train(...runs.fresh(out, 1_000_000));
  await run.says(/"step":3,/);
  run.child.kill(signal);
  const { code, err } = await run.ended;
  expect(err).toMatch(/stopping after this step.*\nstopped after \d+ of 1000000 steps; resume with/);
  expect(code).toBe(128 + constants.signals[signal]);
  expect(await stepOf(out)).toBeGreaterThanOrEqual(3);
});

/** The stop signals that a process catches. */
function caughtBy({ child }: Running): string[] {
  const mask = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))![1]}`);
  return stopSignals.filter((name) => (mask >> BigInt(constants.signals[name] - 1)) & 1n);
}

interface Stopping {
  /** The signal that this command gets. That it catches the others too is read from /proc. */
  signal: (typeof stopSignals)[number];
  args: (out: string) => string[] | Promise<string[]>;
  /** What it says when it is at work. */
  works: RegExp;
  says: RegExp;
  /** A command whose purpose is to run until it is stopped ends with 0. */
  code?: 0;
  /** What it leaves in its folder (default: nothing). */
  leaves?: string[];
}

/** Enough to do for minutes. */
const commands: Record<string, Stopping> = {
  sample: {
    signal: "SIGHUP",
    args: (out) => ["sample", "--model", runs.at("slow"), "-n", "4096", "--out", join(out, "all.png")],
    works: / of 4096/,
    says: /stopped; nothing was written/,
  },
  convert: {
    signal: "SIGUSR2",
    args: (out) => [
      "convert",
      join(runs.at("deep"), "model.safetensors"),
      join(out, "model"),
      "--config",
      join(runs.at("deep"), "config.json"),
    ],
    works: /parameters, .* in /,
    says: /stopped; nothing was written/,
  },
  evaluate: {
    signal: "SIGTERM",
    args: (out) =>
      `evaluate likelihood --data emoji --order --passes 65536 --cache ${runs.folder} --model ${runs.at("tiny")}`
        .split(" ")
        .concat("--per-image", join(out, "bits.jsonl")),
    works: /0 of 2 images, \d+% of the next/,
    says: /stopped; run the same command to resume/,
    leaves: ["bits.jsonl"],
  },
  serve: {
    signal: "SIGUSR1",
    args: () => ["serve", "--port", "0", "--model", runs.at("tiny")],
    works: / at http:/,
    says: /^stopping once running jobs are finished/m,
    code: 0,
  },
};

/** Sends the signal when the command is at work, and checks what it says and leaves behind. */
async function stops(run: Running, { works, signal, says, code, leaves = [] }: Stopping, out: string): Promise<void> {
  try {
    await run.says(works);
    if (process.platform === "linux") expect(caughtBy(run)).toEqual([...stopSignals]);
    run.child.kill(signal);
    const ended = await run.ended;
    expect(ended.err).toMatch(says);
    expect(ended.code).toBe(code ?? 128 + constants.signals[signal]);
    expect(readdirSync(out)).toEqual(leaves);
  } finally {
    run.child.kill("SIGKILL");
  }
}

it.each(firstOf(Object.entries(commands)))(
  "%s stops on every signal and leaves nothing half-written",
  async (name, command) => {
    const out = runs.at(`out of ${name}`);
    mkdirSync(out);
    await stops(started(process.execPath, [built("cli/main"), ...(await command.args(out))]), command, out);
  },
);

it.runIf(thorough)("worker stops on every signal and leaves no job behind", async (context) => {
  context.skip(noRedis !== undefined, noRedis);
  const queue = await testQueue();
  try {
    mkdirSync(queue.at("out"));
    const says = /^stopping when the current job is finished or returned to the queue/m;
    const stopping: Stopping = { signal: "SIGHUP", args: () => [], works: /takes jobs from Redis/, says, code: 0 };
    await stops(queue.worker(), stopping, queue.at("out"));
  } finally {
    await queue.end();
  }
});

it.runIf(thorough)("a second signal ends the process immediately, with that signal", async () => {
  // A step is one run of more than a second.
  const run = runs.train(...runs.fresh(runs.at("twice"), 1_000_000), "--batch", "2048", "--micro-batch", "2048");
  await run.says(/"step":1,/);
  run.child.kill("SIGTERM");
  await run.says(/stopping after this step/);
  run.child.kill("SIGSTOP");
  await setTimeout(700); // sooner, it counts as the same signal
  run.child.kill("SIGTERM");
  run.child.kill("SIGCONT");
  const { code, err } = await run.ended;
  expect([code, err]).toEqual([143, expect.not.stringContaining("stopped after")]);
});

it("SIGUSR1 ends a program that has just started, and does not start the debugger (Linux)", async (context) => {
  context.skip(process.platform !== "linux", "it needs /proc");
  const run = runs.train(...runs.fresh(runs.at("early"), 1_000_000));
  const caught = () => {
    const mask = /^SigCgt:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${run.child.pid}/status`, "utf8"))![1];
    return (BigInt(`0x${mask}`) >> BigInt(constants.signals.SIGUSR1 - 1)) & 1n;
  };
  // Node.js itself catches the signal until the program starts.
  while (!caught()) await setImmediate();
  while (caught()) await setImmediate();
  run.child.kill("SIGUSR1");
  expect(await run.ended).toMatchObject({ code: 138, err: expect.not.stringContaining("Debugger") });
});

/** A shell's environment, without the variables of this test's own npm. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD$|NODE_OPTIONS$)/i.test(name)),
);

it.runIf(thorough)(
  "npm forwards SIGTERM and waits for the checkpoint; paths are relative to where the command was typed",
  async () => {
    mkdirSync(runs.at("typed"));
    const args = ["--cache", runs.folder, "--threads", "1", "--no-samples", "--json", ...runs.fresh("run", 1_000_000)];
    const npm = started("npm", ["--prefix", root, "run", "--silent", "fractalgen", "--", "train", ...args], {
      cwd: runs.at("typed"),
      env,
    });
    await npm.says(/"step":3,/);
    npm.child.kill("SIGTERM");
    const { code } = await npm.ended;
    expect(code).toBe(143);
    expect(await stepOf(runs.at("typed/run"))).toBeGreaterThanOrEqual(3);
    expect(existsSync(runs.at("typed/run/.owner"))).toBe(false); // the lock is released
  },
  240_000,
);

it.runIf(thorough)(
  "a signal that ends only npm stops training too",
  async () => {
    const out = runs.at("orphan");
    const args = ["--cache", runs.folder, "--threads", "1", "--no-samples", "--json", ...runs.fresh(out, 1_000_000)];
    const npm = started("npm", ["--prefix", root, "run", "--silent", "fractalgen", "--", "train", ...args], { env });
    await npm.says(/"step":3,/);
    npm.child.kill("SIGHUP"); // npm does not forward it
    await npm.ended; // when no process has its output open any more
    expect(await stepOf(out)).toBeGreaterThanOrEqual(3);
    expect(existsSync(join(out, ".owner"))).toBe(false);
  },
  240_000,
);
