/** Distributed training, against the same training with all its replicas in one process. */

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { started, type TestRuns, testRuns } from "../cli/test-run.ts";
import { built } from "../test-program.ts";
import { asked, kills, killing, noRedis, type TestQueue, testQueue } from "./test-queue.ts";
import { thorough } from "../test-depth.ts";

const minutes = 60_000;

let runs: TestRuns;
beforeAll(async () => {
  runs = await testRuns();
});
afterAll(() => runs.remove());

const replicas = (out: string, ...more: string[]) => [
  ...runs.fresh(runs.at(out), 2 * Math.max(3, 1 + kills / 2)),
  ..."--replicas 2 --round-steps 2 --evaluate-steps 2".split(" "),
  ...more,
];

/** The weights and optimiser of a run, and its log without times and bytes. */
function outcome(out: string): Record<string, string> {
  const file = (name: string) => readFileSync(runs.at(join(out, name)));
  return {
    weights: file("last/model.safetensors").toString("base64"),
    optimizer: file("last/optimizer.safetensors").toString("base64"),
    log: String(file("log.jsonl"))
      .split("\n")
      .filter((line) => !line.includes('"kind":"round"') && !line.includes('"kind":"references"'))
      .join("\n")
      .replaceAll(/"seconds":[^,}]*/g, ""),
  };
}

describe("replicas in one process", () => {
  it(
    "train, and resume after a kill as if there had been none",
    async () => {
      expect((await runs.train(...replicas("one")).ended).code).toBe(0);
      expect(existsSync(runs.at("one/rounds"))).toBe(false);
      const killed = runs.train(...replicas("killed"));
      await killed.says(/"kind":"round","step":2/);
      killed.child.kill("SIGKILL");
      await killed.ended;
      const again = await runs.train(...replicas("killed")).ended;
      expect(again.code, again.err).toBe(0);
      expect(outcome("killed")).toEqual(outcome("one"));
    },
    (3 + kills / 2) * minutes,
  );

  it.runIf(thorough)(
    "fine-tune a model, and repeating the command resumes",
    async () => {
      expect((await runs.train(...runs.fresh(runs.at("tuned-base"), 1)).ended).code).toBe(0);
      const tuned = ["--data", "emoji", "--out", runs.at("tuned"), "--init-from", runs.at("tuned-base")];
      const command = [...tuned, ..."--steps 4 --batch 4 --replicas 2 --round-steps 2 --evaluate-steps 2".split(" ")];
      const killed = runs.train(...command);
      await killed.says(/"kind":"round","step":2/);
      killed.child.kill("SIGKILL");
      await killed.ended;
      const again = await runs.train(...command).ended;
      expect(again.code, again.err).toBe(0);
      const complete = await runs.train(...command).ended;
      expect(complete.err).toContain("the run is complete: 4 of 4 steps");
    },
    2 * minutes,
  );

  it.runIf(thorough)(
    "save a checkpoint when they are stopped, with the moments of that step",
    async () => {
      const constant = "--schedule constant --evaluate-steps 1000".split(" ");
      const long = (out: string, steps: number) => [...runs.fresh(runs.at(out), steps), "--replicas", "2", ...constant];
      for (const mode of [["--round-steps", "2"], ["--sync"]]) {
        const out = `stopped${mode[0]}`;
        const stopped = runs.train(...long(out, 100_000), ...mode);
        await stopped.says(/"kind":"step","step":4/);
        stopped.child.kill("SIGINT");
        const { code, err } = await stopped.ended;
        expect([code, err]).toEqual([130, expect.stringMatching(/^stopped after \d+ of 100000 steps; resume with/m)]);
        const steps = Number(/^stopped after (\d+)/m.exec(err)![1]);
        const whole = `whole${mode[0]}`;
        expect((await runs.train(...long(whole, steps), ...mode).ended).code).toBe(0);
        for (const part of ["weights", "optimizer"]) expect(outcome(out)[part]).toBe(outcome(whole)[part]);
      }
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "save only at the ends of rounds, where wsd's last stable checkpoint is too",
    async () => {
      const wrong = await runs.train(...replicas("wrong-save", "--save-steps", "3")).ended;
      expect([wrong.code, wrong.err]).toEqual([2, expect.stringMatching(/--save-steps: expected a multiple of the 2/)]);
      const wsd = ["--save-steps", "4", "--schedule", "wsd", "--decay-share", "0.5", "--warmup", "0"];
      const saved = await runs.train(...replicas("save", ...wsd)).ended;
      expect(saved.code, saved.err).toBe(0);
      expect(existsSync(runs.at("save/step-000004"))).toBe(true);
      expect(existsSync(runs.at("save/stable"))).toBe(true);
    },
    2 * minutes,
  );

  it.runIf(thorough)(
    "say it if the files of a round are gone, and refuse a damaged round.json",
    async () => {
      const killed = runs.train(...replicas("lost"));
      await killed.says(/"kind":"round","step":2/);
      killed.child.kill("SIGKILL");
      await killed.ended;
      const path = runs.at("lost/round.json");
      const whole = readFileSync(path, "utf8");
      writeFileSync(path, whole.slice(0, 20));
      const damaged = await runs.train(...replicas("lost")).ended;
      expect([damaged.code, damaged.err]).toEqual([
        2,
        expect.stringMatching(/round\.json: the file is damaged; remove/),
      ]);
      writeFileSync(path, whole);
      rmSync(runs.at("lost/rounds"), { recursive: true });
      const again = await runs.train(...replicas("lost")).ended;
      expect([again.code, again.err]).toEqual([0, expect.stringMatching(/the shared folder has no file .* at step 0/)]);
      expect(outcome("lost")).toEqual(outcome("one"));
    },
    2 * minutes,
  );

  it.runIf(thorough)(
    "train with gradients at every step, of which there are no differences to round",
    async () => {
      const sync = await runs.train(...replicas("sync-2", "--sync")).ended;
      expect(sync.code, sync.err).toBe(0);
      const wrong = await runs.train(...replicas("wrong", "--sync", "--differences", "int8")).ended;
      expect([wrong.code, wrong.err]).toEqual([2, expect.stringMatching(/--differences: .*leave it out/)]);
    },
    (3 + kills / 2) * minutes,
  );
});

describe.skipIf(noRedis)(`replicas on workers${noRedis ? ` (skipped: ${noRedis})` : ""}`, () => {
  let queue: TestQueue;
  beforeAll(async () => {
    queue = await testQueue();
  });
  afterAll(() => queue?.end());

  const train = (...args: string[]) =>
    started(process.execPath, [
      built("cli/main"),
      ..."train --threads 1 --no-samples --json --cache".split(" "),
      runs.folder,
      ...args,
      ...queue.options,
    ]);

  it.runIf(thorough)(
    "give the same run to the byte, whichever workers are killed",
    async () => {
      const run = train(...replicas("many"));
      expect(await killing(queue, run.ended)).toBe(kills);
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(outcome("many")).toEqual(outcome("one"));
      expect(err).toMatch(/through the shared folder: .* read and .* written/);
    },
    (2 + kills) * minutes,
  );

  it.runIf(thorough)(
    "leave nothing of a stopped run in Redis, and go on with it",
    async () => {
      const keys = () => asked(queue.redis, "keys", "*run-*");
      const worker = queue.worker();
      const first = train(...runs.fresh(runs.at("left"), 100_000), ..."--replicas 2 --round-steps 2".split(" "));
      await first.says(/"kind":"round","step":4/);
      expect(keys()).not.toEqual([]);
      first.child.kill("SIGINT");
      const { code, err } = await first.ended;
      expect([code, err]).toEqual([130, expect.stringMatching(/^stopped after \d+ of/m)]);
      expect(keys()).toEqual([]);
      worker.child.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "go on after Redis was restarted, also if it forgot everything",
    async () => {
      const worker = queue.worker();
      const run = train(...replicas("restarted"));
      for (const step of [2, 4]) {
        await run.says(new RegExp(`"kind":"round","step":${step}`));
        await queue.redis.stop();
        if (step === 4) rmSync(queue.at("redis/appendonlydir"), { recursive: true });
        await queue.redis.start();
      }
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(outcome("restarted")).toEqual(outcome("one"));
      worker.child.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
      const alone = train(...replicas("alone"));
      await alone.says(/waiting for workers/);
      await queue.redis.stop();
      await alone.says(/lost the connection/);
      alone.child.kill("SIGINT");
      const stopped = await alone.ended;
      await queue.redis.start();
      expect([stopped.code, stopped.err]).toEqual([130, expect.stringMatching(/^stopped after 0 of/m)]);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "add a round again whose parent or child Redis has lost",
    async () => {
      const all = (pattern: string) => asked(queue.redis, "keys", pattern);
      const before = all("*run-*"); // of the commands that ended without Redis
      const keys = (pattern: string) => all(pattern).filter((key) => !before.includes(key));
      const run = train(...replicas("forgotten"));
      const children = async (...numbers: number[]) => {
        const found = () => keys("*:run-*-*").map((key) => Number(/\d+$/.exec(key)));
        await expect.poll(found, { timeout: 60_000 }).toEqual(expect.arrayContaining(numbers));
      };
      await children(0, 1);
      const [child] = keys("*:run-*-0");
      asked(queue.redis, "lrem", child.replace(/[^:]+$/, "wait"), "0", /[^:]+$/.exec(child)![0]);
      asked(queue.redis, "del", child);
      await children(2, 3);
      asked(queue.redis, "del", ...keys("*-run-*"));
      await children(4, 5);
      const worker = queue.worker();
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(outcome("forgotten")).toEqual(outcome("one"));
      // The worker also ran what the test before left, so only this command's keys count.
      const [own] = /run-[0-9a-f]+/.exec(child)!;
      expect(all(`*${own}*`)).toEqual([]);
      worker.child.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "give back a job whose thread cannot be stopped, and what a killed command left is removed",
    async () => {
      const queued = (list: string) => {
        const [key] = asked(queue.redis, "keys", `fractalgen:*-cpu:${list}`);
        return key === undefined ? 0 : Number(asked(queue.redis, "llen", key)[0]);
      };
      const long = train(...runs.fresh(runs.at("long"), 2), ..."--replicas 2 --sync --batch 20000".split(" "));
      await long.says(/"kind":"references"/);
      const worker = queue.worker({ args: ["--grace-seconds", "0"] });
      await expect.poll(() => queued("active"), { timeout: 60_000 }).toBe(1);
      worker.child.kill("SIGTERM");
      expect([0, 143]).toContain((await worker.ended).code);
      expect([queued("active"), queued("wait")]).toEqual([0, 2]);
      long.child.kill("SIGKILL");
      await long.ended;
      asked(queue.redis, "del", ...asked(queue.redis, "keys", "fractalgen:run:*")); // as after 30 s
      const left = asked(queue.redis, "keys", "*run-*");
      expect(left.filter((key) => key.includes(":run-")).length).toBeGreaterThanOrEqual(2);
      expect(left).toContainEqual(expect.stringMatching(/-run-\w+:round-0$/));
      const next = train(...replicas("next"));
      const its = () => asked(queue.redis, "keys", "*run-*").filter((key) => left.includes(key));
      await expect.poll(its, { timeout: 60_000 }).toEqual([]);
      next.child.kill("SIGINT");
      await next.ended;
      expect(asked(queue.redis, "keys", "*run-*")).toEqual([]);
    },
    3 * minutes,
  );

  it.runIf(thorough)(
    "resume the round when the command was killed; two commands on one run are refused",
    async () => {
      const first = train(...replicas("leader"));
      await first.says(/"kind":"references"/); // there is no worker yet, so it cannot end
      const other = await train(...replicas("leader")).ended;
      expect([other.code, other.err]).toEqual([2, expect.stringMatching(/is in use by process/)]);
      const worker = queue.worker();
      await first.says(/"kind":"round","step":2/);
      first.child.kill("SIGKILL");
      await first.ended;
      const second = await train(...replicas("leader")).ended;
      expect(second.code, second.err).toBe(0);
      expect(outcome("leader")).toEqual(outcome("one"));
      const sync = await train(...replicas("sync-many", "--sync")).ended;
      expect(sync.code, sync.err).toBe(0);
      expect(outcome("sync-many")).toEqual(outcome("sync-2"));
      const [plain, single] = [runs.fresh(runs.at("plain"), 3), runs.fresh(runs.at("single"), 3)];
      expect((await runs.train(...plain).ended).code).toBe(0);
      expect((await train(...single, "--sync").ended).code).toBe(0);
      for (const part of ["weights", "optimizer"]) expect(outcome("single")[part]).toBe(outcome("plain")[part]);
      const rounded = ["--differences", "int8"];
      expect((await runs.train(...replicas("int8-one", ...rounded)).ended).code).toBe(0);
      expect((await train(...replicas("int8-many", ...rounded)).ended).code).toBe(0);
      expect(outcome("int8-many")).toEqual(outcome("int8-one"));
      expect(outcome("int8-one")["weights"]).not.toBe(outcome("one")["weights"]);
      worker.child.kill("SIGTERM");
      await worker.ended;
    },
    6 * minutes,
  );
});
