/** Two processes that write to the same place: one succeeds, the other is told which process holds the lock. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readModelFolder } from "../files/model.ts";
import { thorough } from "../test-depth.ts";
import { loadCheckpoint } from "../train/checkpoint.ts";
import { built } from "../test-program.ts";
import { type Ended, started, type TestRuns, testRuns } from "./test-run.ts";

const rounds = thorough ? 10 : 2;
let runs: TestRuns;
beforeAll(async () => {
  runs = await testRuns();
});
afterAll(() => runs.remove());

const inUse = (path: string) =>
  new RegExp(`^error: ${path} is in use by process \\d+ on ${hostname()} since .* UTC; wait until it finishes.*\\n$`);

/** One must have succeeded, and the other must have been refused or, on a busy machine, started after the first had finished. */
function onlyOne(both: readonly Ended[], refused: RegExp, late: RegExp): void {
  const said = both.map(({ code, err }) => `${code} ${err}`).join("\n");
  const others = both.filter(({ code, err }) => (code === 2 && refused.test(err)) || late.test(err));
  expect(others, said).toHaveLength(1);
  expect(both.find((one) => one !== others[0])!.code, said).toBe(0);
}

function stepsIn(out: string): number[] {
  const lines = readFileSync(join(out, "log.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line)).flatMap(({ kind, step }) => (kind === "step" ? [step as number] : []));
}

const upTo = (steps: number) => Array.from({ length: steps }, (_, i) => i + 1);

it.runIf(thorough)(
  "two processes that resume one run: only one continues",
  async () => {
    const out = runs.at("resumed");
    expect((await runs.train(...runs.fresh(out, 2)).ended).code).toBe(0);
    for (let round = 1; round <= rounds; round++) {
      const steps = 2 + 12 * round;
      const go = () => runs.train("--resume", out, "--steps", String(steps), "--checkpoint-seconds", "0.2").ended;
      onlyOne(await Promise.all([go(), go()]), inUse(out), /the run is complete/);
      expect((await loadCheckpoint(join(out, "last"))).state.step).toBe(steps);
      expect(stepsIn(out)).toEqual(upTo(steps));
      expect(readdirSync(out).filter((name) => /^\.|partial|old/.test(name))).toEqual([]);
    }
  },
  180_000 * rounds,
);

it.runIf(thorough)(
  "two processes that start the same run: one starts",
  async () => {
    for (let round = 1; round <= rounds; round++) {
      const out = runs.at(`new-${round}`);
      const go = () => runs.train(...runs.fresh(out, 12), "--checkpoint-seconds", "0.2").ended;
      onlyOne(await Promise.all([go(), go()]), inUse(out), /already holds a run/);
      expect(stepsIn(out)).toEqual(upTo(12));
      expect((await loadCheckpoint(join(out, "last"))).state.step).toBe(12);
    }
  },
  180_000 * rounds,
);

it.runIf(thorough)(
  "two processes that write one model folder: it is complete",
  async () => {
    for (let round = 1; round <= rounds; round++) {
      const out = runs.at(`q8-${round}`);
      const go = () => started(process.execPath, [built("cli/main"), "quantize", "emoji", out, "--json"]).ended;
      onlyOne(await Promise.all([go(), go()]), inUse(out), /already exists/);
      expect(readModelFolder(out).config.dtype).toBe("q8");
      expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
    }
    expect(readdirSync(runs.folder).filter((name) => name.startsWith("."))).toEqual([]);
  },
  180_000 * rounds,
);

it.runIf(thorough)(
  "locks a run against a second process while it trains, and releases the lock when it is killed",
  async () => {
    const out = runs.at("killed");
    const first = runs.train(...runs.fresh(out, 1_000_000), "--checkpoint-seconds", "0.2", "--save-steps", "5");
    await first.says(/"checkpoint","step":[5-9]/);
    const second = await runs.train("--resume", out).ended;
    expect([second.code, second.err]).toEqual([2, expect.stringMatching(inUse(out))]);
    const drawing = [built("cli/main"), "sample", "--model", out, "-n", "1", "--json", "--out", runs.at("a.png")];
    expect((await started(process.execPath, drawing).ended).code).toBe(0); // reading needs no lock
    first.child.kill("SIGKILL");
    await first.ended;
    expect(existsSync(join(out, ".owner"))).toBe(true);
    const { step } = (await loadCheckpoint(join(out, "last"))).state;
    const third = await runs.train("--resume", out, "--steps", String(step + 3)).ended;
    expect(third.code).toBe(0);
    expect(readdirSync(out).filter((name) => /^\.|partial|old/.test(name))).toEqual([]);
    expect(stepsIn(out)).toEqual(upTo(step + 3));
    for (let kept = 5; kept <= step; kept += 5)
      expect(existsSync(join(out, `step-${String(kept).padStart(6, "0")}`)), `step ${kept}`).toBe(true);
  },
  240_000,
);
