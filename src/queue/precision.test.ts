/** The precision of jobs: part of their key, and never replaced by another one. */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkQueue } from "../cli/queue-options.ts";
import { tinyDataset } from "../train/tiny.ts";
import type { Engine } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import type { ModelFolder } from "../files/model.ts";
import { readModelFolder } from "../files/model.ts";
import type { OnnxModel } from "../graph/onnx.ts";
import type { Executor } from "./executor.ts";
import { type Job, keyOf } from "./jobs.ts";
import { likelihoodJobs } from "./likelihoods.ts";
import { localExecutor } from "./local.ts";
import { shipModel } from "./objects.ts";
import { jobRunner } from "./run-job.ts";
import { sampleJob } from "./sampler.ts";
import { openStore, type Store } from "./store.ts";
import { writeTinyModel } from "./test-queue.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-precision-"));
const scored = { dataset: tinyDataset(), part: "held-out", split: tinyDataset().heldOut } as const;
let store: Store;
let model: ModelFolder;
let engine: Engine;
let executor: Executor;
beforeAll(async () => {
  mkdirSync(join(folder, "shared"));
  await writeTinyModel(join(folder, "tiny"));
  model = readModelFolder(join(folder, "tiny"));
  store = await openStore(join(folder, "shared"), { cache: join(folder, "cache") });
  engine = await nodeEngine({ threads: 1 });
  executor = localExecutor(engine, store);
});
afterAll(async () => {
  await executor?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A job for two images and one for two likelihoods. */
async function jobs(precision?: "float16"): Promise<Job[]> {
  const options = { labels: [0, 0], iterations: [1, 1], precision };
  const drawn = sampleJob(model.config, await shipModel(store, model), options, [0, 2]);
  return [drawn, ...(await likelihoodJobs(executor, model, scored, { precision }))];
}

describe("a job in float16", () => {
  it("has another key than the same job in float32, whose key did not change", async () => {
    const [usual, half] = [await jobs(), await jobs("float16")];
    expect(half.length).toBe(2);
    half.forEach((job, i) => {
      expect(keyOf(job)).not.toBe(keyOf(usual[i]));
      const { precision, ...rest } = job as Extract<Job, { kind: "sample" | "likelihood" }>;
      expect(precision).toBe("float16");
      expect(keyOf(rest as Job)).toBe(keyOf(usual[i]));
    });
  });

  it("is computed by the engine for float16, and a job in float32 after it by the other one", async () => {
    const opened: string[] = [];
    const spying = (name: string, precision?: "float16"): Engine => ({
      ...engine,
      provider: "webgpu", // so that it samples in this thread
      precision,
      session: (given: OnnxModel, options) => {
        opened.push(name);
        return engine.session(given, options);
      },
    });
    const half = spying("half", "float16");
    const runner = jobRunner({ engine: spying("usual"), half: async () => half, store });
    const area = "run-test/0";
    const run = async (list: Job[]) => {
      for (const job of list) await runner.run(job, { area });
      return new Set(opened.splice(0));
    };
    const sample = async (precision?: "float16") => (await jobs(precision)).slice(0, 1);
    expect(await run(await sample("float16"))).toEqual(new Set(["half"]));
    expect(await run(await sample())).toEqual(new Set(["usual"]));
    expect(await run(await sample("float16"))).toEqual(new Set(["half"]));
    await runner.dispose();
  });

  it("fails where the device has no float16", async () => {
    const half = () => nodeEngine({ threads: 1, precision: "float16" });
    const runner = jobRunner({ engine, half, store });
    for (const job of await jobs("float16"))
      await expect(runner.run(job, { area: "run-test/1" })).rejects.toThrow(
        "float16 is not available on cpu here: only GPUs have it",
      );
    await runner.dispose();
  });

  it("is not sent to workers on CPUs", () => {
    const flags = { queue: "redis://localhost", shared: folder, precision: "float16" } as const;
    expect(() => checkQueue({ ...flags, device: "cpu" })).toThrow("only workers on GPUs compute in float16");
    expect(() => checkQueue({ ...flags, device: "webgpu" })).not.toThrow();
    expect(() => checkQueue({ ...flags, device: "cpu", precision: "float32" })).not.toThrow();
  });
});
