/** Distributed training, against the same training with all its replicas in one process. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { started, type TestRuns, testRuns } from "../cli/test-run.ts";
import { built } from "../test-program.ts";
import { kills, killing, noRedis, type TestQueue, testQueue } from "./test-queue.ts";
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

  it(
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

  it(
    "give the same run to the byte, whichever workers are killed",
    async () => {
      const run = train(...replicas("many"));
      await killing(queue, run.ended);
      const { code, err } = await run.ended;
      expect(code, err).toBe(0);
      expect(outcome("many")).toEqual(outcome("one"));
      expect(err).toMatch(/through the shared folder: .* read and .* written/);
    },
    (2 + kills) * minutes,
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
