/**
 * The learner for devices, run on the CPU, equals the one on the host: with both optimisers, several micro-batches,
 * checkpoints and an average. `src/engine/webgpu.test.ts` runs it on WebGPU.
 */

import { describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { batchSource } from "../data/batches.ts";
import { fromHalf, toHalf } from "../core/half.ts";
import type { Engine } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { modelParameters } from "../model/parameters.ts";
import { firstOf, thorough } from "../test-depth.ts";
import { startingState } from "./state.ts";
import { deviceLearner } from "./device-learner.ts";
import { hostLearner, type Learned, type Learner, type NotFinite } from "./learner.ts";
import { trainingStep } from "./step.ts";
import { detailedDataset, tinyDataset, tinyModel } from "./tiny.ts";

const engine = await nodeEngine({ threads: 1 });
const ar = () =>
  parseModelConfig(
    {
      imageSize: 8,
      classes: ["dark", "light"],
      levels: [
        { kind: "ar", patch: 4, width: 16, depth: 2, heads: 2 },
        { kind: "ar", patch: 1, width: 16, depth: 1, heads: 2 },
        { kind: "pixel", width: 16, depth: 1, heads: 2 },
      ],
    },
    "the test",
  );

const cases: [string, ReturnType<typeof ar>, Partial<TrainingConfig>][] = [
  [
    "AR, Muon, checkpointing, patches left out",
    ar(),
    { optimizer: "muon", checkpointing: true, innerShare: [0.5], innerChoice: "detail" },
  ],
  ["AR, AdamW, checkpointing, patches left out", ar(), { checkpointing: true, innerShare: [0.5], ema: 0 }],
  [
    "MAR with guiding pixels, Muon, micro-batches",
    tinyModel({ guidingPixel: true }),
    { optimizer: "muon", microBatch: 2, ema: 0.99, innerShare: [0.5, 0.5], innerChoice: "detail" },
  ],
  [
    "MAR, checkpointing and micro-batches",
    tinyModel({ guidingPixel: true }),
    { checkpointing: true, microBatch: 3, ema: 0.9, clip: 0.1 },
  ],
];

describe("the learner for devices", () => {
  it.each(firstOf(cases))("equals the host's: %s", async (_, model, changes) => {
    const training = parseTrainingConfig(
      { batch: 4, microBatch: 4, learningRate: 1e-3, warmup: 0, seed: 1, ...changes },
      "the test",
    );
    const onNotFinite = ({ number }: NotFinite) => new Error(`step ${number}`);
    const batches = batchSource(detailedDataset(), training);
    const run = async (open: (state: ReturnType<typeof startingState>) => Promise<Learner>) => {
      const state = startingState(model, 1, training);
      const learner = await open(state);
      const steps: Learned[] = [];
      for (let step = 0; step < 3; step++) {
        steps.push(await learner.learn(batches, step));
        state.step++;
      }
      await learner.store();
      await learner.dispose();
      return { state, steps };
    };
    const host = await run(async (state) =>
      hostLearner(engine, await trainingStep(engine, model, training), { model, training, state, onNotFinite }),
    );
    const device = await run((state) => deviceLearner(engine, { model, training, state, onNotFinite }));
    device.steps.forEach((step, i) => {
      expect(Math.abs(step.loss - host.steps[i].loss)).toBeLessThan(1e-4);
      expect(Math.abs(step.bits - host.steps[i].bits)).toBeLessThan(1e-4);
      expect(Math.abs(step.gradientNorm / host.steps[i].gradientNorm - 1)).toBeLessThan(1e-3);
    });
    const start = startingState(model, 1, training);
    const difference = (a: Float32Array, b: Float32Array) =>
      a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
    let moved = 0;
    for (const [name, value] of host.state.values) {
      // AdamW's first updates have the size of the learning rate whatever the gradient's size, so where a gradient is
      // nearly zero, its rounding decides the sign of the update.
      expect(difference(value, device.state.values.get(name)!), name).toBeLessThan(3e-4);
      expect(difference(host.state.average.get(name)!, device.state.average.get(name)!), name).toBeLessThan(3e-4);
      moved = Math.max(moved, difference(value, start.values.get(name)!));
      const { first, second } = host.state.moments.get(name)!;
      const other = device.state.moments.get(name)!;
      const largest = first.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-6);
      expect(difference(first, other.first) / largest, name).toBeLessThan(2e-3);
      expect(other.second === undefined, name).toBe(second === undefined);
      if (second) expect(difference(second, other.second!), name).toBeLessThan(1e-5);
    }
    expect(moved).toBeGreaterThan(1e-3);
  });
});

describe("written for float16", () => {
  // This tests the graphs and the loss scale, not the rounding: onnxruntime's CPU provider removes casts to float16 and
  // back, and computes the products in float32.
  const half = { ...engine, precision: "float16" } as const;
  const model = ar();
  const onNotFinite = ({ number }: NotFinite) => new Error(`step ${number} is not finite`);

  const training = parseTrainingConfig(
    { batch: 4, microBatch: 4, learningRate: 1e-3, warmup: 0, seed: 1, ema: 0 },
    "the test",
  );
  async function run(on: Engine, { lossScale, times = 1 }: { lossScale?: number; times?: number } = {}) {
    const state = { ...startingState(model, 1, training), lossScale };
    for (const value of state.values.values()) value.forEach((x, i) => (value[i] = x * times));
    const learner = await deviceLearner(on, { model, training, state, onNotFinite });
    const steps: Learned[] = [];
    try {
      for (let step = 0; step < 10; step++) steps.push(await learner.learn(batchSource(tinyDataset(), training), step));
      await learner.store();
      return { state, steps };
    } finally {
      await learner.dispose();
    }
  }

  it.runIf(thorough)("learns as in float32, and keeps weights in float32", async () => {
    const [full, found] = [await run(engine), await run(half)];
    expect(full.state.lossScale).toBeUndefined();
    expect(found.state.lossScale).toBe(2 ** 16);
    found.steps.forEach(({ loss, gradientNorm }, i) => {
      expect(Math.abs(loss - full.steps[i].loss)).toBeLessThan(0.01);
      expect(Math.abs(gradientNorm / full.steps[i].gradientNorm - 1)).toBeLessThan(0.02);
    });
    expect(full.steps[0].loss - found.steps[9].loss).toBeGreaterThan(0.1);
    // Not the same graphs.
    expect(found.steps.some(({ loss }, i) => loss !== full.steps[i].loss)).toBe(true);
    const [value] = found.state.values.values();
    expect(value.some((x) => Math.fround(x) !== fromHalf(toHalf(Float32Array.of(x)))[0])).toBe(true);
  });

  it.runIf(thorough)("repeats a step with half of the loss scale until its gradients are finite", async () => {
    // Far too much: some gradients are not finite.
    const found = await run(half, { lossScale: 2 ** 30 });
    expect(found.state.lossScale).toBeLessThan(2 ** 30);
    expect(found.state.lossScale).toBeGreaterThan(1);
    const usual = await run(engine);
    found.steps.forEach(({ loss }, i) => expect(Math.abs(loss - usual.steps[i].loss)).toBeLessThan(0.01));
  });

  it("ends if no loss scale helps", async () => {
    await expect(run(half, { times: 1e6 })).rejects.toThrow("step 0 is not finite");
  });
});

describe("an error", () => {
  const model = ar();
  const training = parseTrainingConfig(
    { batch: 4, microBatch: 2, checkpointing: true, ema: 0.9, warmup: 0 },
    "the test",
  );
  const onNotFinite = ({ number, loss }: NotFinite) => new Error(`step ${number}: ${loss}`);

  /** The engine with counts of what is open, which fails in a session or a run by number. */
  function failing({ badSession = -1 } = {}) {
    const count = { sessions: 0, opened: 0, tensors: 0, runs: 0, badRun: -1 };
    const on: Engine = {
      ...engine,
      async session(graph, options) {
        if (count.opened++ === badSession) throw new Error("no session");
        const session = await engine.session(graph, options);
        count.sessions++;
        return {
          ...session,
          async runKept(feeds) {
            if (count.runs++ === count.badRun) throw new Error("no run");
            const { outputs, kept } = await session.runKept(feeds);
            for (const tensor of Object.values(kept)) {
              count.tensors++;
              const { dispose } = tensor;
              tensor.dispose = () => {
                count.tensors--;
                dispose();
              };
            }
            return { outputs, kept };
          },
          async dispose() {
            count.sessions--;
            await session.dispose();
          },
        };
      },
    };
    return { on, count };
  }
  const open = (on: Engine) =>
    deviceLearner(on, { model, training, state: startingState(model, 1, training), onNotFinite });
  const batches = batchSource(tinyDataset(), training);

  it("while a learner is opened closes what was open", async () => {
    for (const session of [1, 3]) {
      const { on, count } = failing({ badSession: session });
      await expect(open(on)).rejects.toThrow("no session");
      expect(count).toMatchObject({ opened: session + 1, sessions: 0 });
    }
  });

  it("in any run of a step leaves the state on the device, and nothing else", async () => {
    const { on, count } = failing();
    const learner = await open(on);
    await learner.learn(batches, 0);
    const { tensors, runs } = count;
    const weights = modelParameters(model).length;
    expect(tensors).toBeGreaterThan(weights);
    for (let time = 0; time < 2; time++) expect((await learner.averages()).size).toBe(weights);
    expect(count.tensors).toBe(tensors + weights); // until the next step
    for (let run = 0; run < runs; run++) {
      count.badRun = count.runs + run;
      await expect(learner.learn(batches, 1)).rejects.toThrow("no run");
      expect(count.tensors, `run ${run}`).toBe(tensors);
    }
    await learner.learn(batches, 1);
    expect(count.tensors).toBe(tensors);
    await learner.dispose();
    expect(count).toMatchObject({ tensors: 0, sessions: 0 });
  });

  it("is reported if a device returns only zeros, as a lost one does", async () => {
    const zero: Engine = {
      ...engine,
      async session(graph, options) {
        const session = await engine.session(graph, options);
        return {
          ...session,
          async runKept(feeds) {
            const found = await session.runKept(feeds);
            for (const { data } of Object.values(found.outputs)) (data as Float32Array).fill(0);
            return found;
          },
        };
      },
    };
    const learner = await open(zero);
    await expect(learner.learn(batches, 0)).rejects.toThrow("step 0: 0");
    await learner.dispose();
  });
});
