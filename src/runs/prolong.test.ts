/** Extending runs: from before the decay, bit-identical to a longer run, or with a warning. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { decayBegins, learningRateAt, parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { nodeEngine } from "../engine/node.ts";
import { own } from "../files/ownership.ts";
import { dataRecord, loadCheckpoint } from "../train/checkpoint.ts";
import { startingState, type TrainingState } from "../train/state.ts";
import { tinyDataset, tinyModel } from "../train/tiny.ts";
import { beginning } from "./begin.ts";
import { readLog } from "./log.ts";
import type { RunOptions } from "./options.ts";
import { type Prepared, settle } from "./settle.ts";
import { trainRun } from "./train.ts";
import { parallelTrainingStep } from "../workers/training.ts";
import type { TrainingStep } from "../train/step.ts";

const engine = await nodeEngine({ threads: 1 });
const dataset = { ...tinyDataset(), source: "emoji" };

let dir = "";
/** All runs share its session, which takes longer to open than a run of ten steps. */
let step: TrainingStep;
beforeAll(async () => {
  step = await parallelTrainingStep(tinyModel(), wsd(10));
  dir = mkdtempSync(join(tmpdir(), "fractalgen-prolong-"));
  await begun(at("long"), wsd(10));
});
afterEach(() => rmSync(at("run"), { recursive: true, force: true }));
afterAll(async () => {
  await step.dispose();
  rmSync(dir, { recursive: true, force: true });
});
const at = (name: string) => join(dir, name);

const wsd = (steps: number, given: Partial<TrainingConfig> = {}) =>
  parseTrainingConfig(
    { steps, schedule: "wsd", decayShare: 0.5, warmup: 2, batch: 4, threads: 1, microBatch: 2, seed: 3, ...given },
    "the test",
  );

async function run(out: string, prepared: Prepared, { stopAt }: { stopAt?: number } = {}): Promise<void> {
  const owned = await own(out, { inside: true });
  const stop = new AbortController();
  try {
    const elsewhere = { step: { ...step, dispose: async () => {} } };
    const context = { out, owned, dataset, cache: at("cache"), samples: false, elsewhere, signal: stop.signal };
    for await (const { kind, step } of trainRun(engine, prepared, context))
      if (kind === "step" && step === stopAt) stop.abort();
  } finally {
    await owned.release();
  }
}

async function begun(out: string, training: TrainingConfig, stopping: { stopAt?: number } = {}): Promise<void> {
  const model = tinyModel();
  const state = startingState(model, training.seed, training);
  await run(out, { model, training, state, data: dataRecord(dataset), parameters: 0, notes: [] }, stopping);
}

async function resumed(out: string, options: RunOptions): Promise<Prepared> {
  const all = { resume: out, ...options };
  return settle(await beginning(all), dataset, all);
}

const bits = ({ step, values, average, moments }: TrainingState) => ({ step, values, average, moments });
const lossesIn = (out: string) =>
  readLog(join(out, "log.jsonl")).flatMap((record) =>
    record.kind === "step" ? [[record.step, record.loss, record.learningRate]] : [],
  );

describe("the decay of wsd", () => {
  it.each([wsd(6), wsd(10), wsd(7, { decayShare: 1 }), wsd(9, { decayShare: 0 }), wsd(20, { warmup: 15 })])(
    "begins at the step where the rate first falls",
    (training) => {
      const { steps, warmup } = training;
      const rates = Array.from({ length: steps }, (_, step) => learningRateAt(step, training));
      const first = rates.findIndex((rate, step) => step >= warmup && rate < training.learningRate);
      expect(decayBegins(training)).toBe(first < 0 ? steps : first);
    },
  );
});

describe("an extended wsd run", () => {
  it.each([
    ["after its end", undefined],
    ["during its decay", 5],
  ])("%s equals a run of that length from its start", async (_, stopAt) => {
    await begun(at("run"), wsd(6), { stopAt });
    expect((await loadCheckpoint(at("run/stable"))).state.step).toBe(4);
    const prepared = await resumed(at("run"), { steps: 10 });
    expect(prepared.notes).toEqual(["continuing from step 4, before the learning rate decayed"]);
    await run(at("run"), prepared);
    const [long, prolonged] = await Promise.all(["long/last", "run/last"].map((name) => loadCheckpoint(at(name))));
    expect(bits(prolonged.state)).toEqual(bits(long.state));
    expect(lossesIn(at("run"))).toEqual(lossesIn(at("long")));
    expect(readFileSync(at("run/curve.svg"), "utf8")).toBe(readFileSync(at("long/curve.svg"), "utf8"));
    expect((await loadCheckpoint(at("run/stable"))).state.step).toBe(6);
  });

  it("extended several times continues from the latest decay", async () => {
    await begun(at("run"), wsd(4));
    for (const steps of [6, 10]) await run(at("run"), await resumed(at("run"), { steps }));
    expect(bits((await loadCheckpoint(at("run/last"))).state)).toEqual(
      bits((await loadCheckpoint(at("long/last"))).state),
    );
  });
});

describe("a wsd run continues from its last checkpoint", () => {
  it("before its decay, and during it if the number of steps is unchanged", async () => {
    await begun(at("run"), wsd(6), { stopAt: 3 });
    expect(existsSync(at("run/stable"))).toBe(false);
    expect(await resumed(at("run"), { steps: 10 })).toMatchObject({ notes: [], state: { step: 3 } });
    await run(at("run"), await resumed(at("run"), {}), { stopAt: 5 });
    expect(await resumed(at("run"), {})).toMatchObject({ notes: [], state: { step: 5 } });
  });

  it("with a warning if the state before its decay is gone", async () => {
    await begun(at("run"), wsd(6));
    rmSync(at("run/stable"), { recursive: true });
    const { notes, state } = await resumed(at("run"), { steps: 10 });
    expect(state.step).toBe(6);
    expect(notes).toEqual([expect.stringMatching(/^the learning rate rises again, from \S+ to \S+:.* step 10$/)]);
  });
});

it("another schedule is extended with a warning if the learning rate rises again", async () => {
  await begun(at("cosine"), wsd(4, { schedule: "cosine" }));
  expect((await resumed(at("cosine"), { steps: 8 })).notes).toEqual([
    expect.stringMatching(/^the learning rate rises/),
  ]);
  expect((await resumed(at("cosine"), {})).notes).toEqual([]);
  await begun(at("constant"), wsd(4, { schedule: "constant" }));
  expect((await resumed(at("constant"), { steps: 8 })).notes).toEqual([]);
  expect(existsSync(at("cosine/stable"))).toBe(false);
});
