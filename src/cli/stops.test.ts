/** Every signal that stops training leaves a checkpoint, also through npm. */

import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadCheckpoint } from "../train/checkpoint.ts";
import { stopSignals } from "./interrupt.ts";
import { started, type TestRuns, testRuns } from "./test-run.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
let runs: TestRuns;
beforeAll(async () => {
  runs = await testRuns();
});
afterAll(() => runs.remove());

const stepOf = async (out: string) => (await loadCheckpoint(join(out, "last"))).state.step;

it.each(stopSignals)("%s stops training with a checkpoint and its own exit code", async (signal) => {
  const out = runs.at(signal);
  const run = runs.train(...runs.fresh(out, 1_000_000));
  await run.says(/"step":3,/);
  run.child.kill(signal);
  const { code, err } = await run.ended;
  expect(err).toMatch(/stopping after this step.*\nstopped after \d+ of 1000000 steps; resume with/);
  expect(code).toBe(128 + constants.signals[signal]);
  expect(await stepOf(out)).toBeGreaterThanOrEqual(3);
});

it("a second signal ends the process immediately, with that signal", async () => {
  // A step is one run of several seconds.
  const run = runs.train(...runs.fresh(runs.at("twice"), 1_000_000), "--batch", "1024", "--micro-batch", "1024");
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

it("npm forwards SIGTERM and waits for the checkpoint; paths are relative to where the command was typed", async () => {
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
}, 240_000);

it("a signal that ends only npm stops training too", async () => {
  const out = runs.at("orphan");
  const args = ["--cache", runs.folder, "--threads", "1", "--no-samples", "--json", ...runs.fresh(out, 1_000_000)];
  const npm = started("npm", ["--prefix", root, "run", "--silent", "fractalgen", "--", "train", ...args], { env });
  await npm.says(/"step":3,/);
  npm.child.kill("SIGHUP"); // npm does not forward it
  await npm.ended; // when no process has its output open any more
  expect(await stepOf(out)).toBeGreaterThanOrEqual(3);
  expect(existsSync(join(out, ".owner"))).toBe(false);
}, 240_000);
