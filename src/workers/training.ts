/** Training steps on all cores: each worker thread computes a part of every batch, in its own cache. */

import type { ModelConfig } from "../config/model.ts";
import { product } from "../core/arrays.ts";
import type { Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { defaultThreads } from "../engine/threads.ts";
import { modelParameters } from "../model/parameters.ts";
import type { TrainingOptions } from "../model/training.ts";
import { addInto, laneTasks, type LaneResult, type LaneTask, type TrainingStep, trainingStep } from "../train/step.ts";
import { startThread } from "./thread.ts";

/** A worker's start data. The shared arrays hold all parameters one after another. */
export interface LaneStart {
  config: ModelConfig;
  options: TrainingOptions;
  values: Float32Array;
  gradients: Float32Array;
}

export type LaneAnswer = { done: LaneResult } | { ready: true };

/** The options of `parallelTrainingStep`. */
export interface ParallelOptions extends TrainingOptions {
  /** Number of cores to use; by default all. */
  threads?: number;
  provider?: Provider;
}

/** For models with more parameters, a copy of weights and gradients per worker costs more than it gains. */
const largestCopied = 64e6;

/** The number of worker threads; 1 means that steps are computed in the calling thread. */
export function lanesFor(config: ModelConfig, threads: number = defaultThreads()): number {
  const parameters = modelParameters(config).reduce((sum, { shape }) => sum + product(shape), 0);
  return parameters > largestCopied ? 1 : threads;
}

/**
 * Training steps that use all cores. Batches are divided by the number of threads, so results are equal to the last bit only with
 * the same number. With one thread, on a GPU and for large models, steps are computed in the calling thread.
 */
export async function parallelTrainingStep(
  config: ModelConfig,
  { threads = defaultThreads(), provider = "cpu", ...options }: ParallelOptions = {},
): Promise<TrainingStep> {
  const shapes = modelParameters(config).map(({ name, shape }): [string, number] => [name, product(shape)]);
  const total = shapes.reduce((sum, [, length]) => sum + length, 0);
  if (lanesFor(config, threads) === 1 || provider !== "cpu") {
    return trainingStep(await nodeEngine({ provider, threads }), config, options);
  }
  const shared = () => new Float32Array(new SharedArrayBuffer(4 * total));
  const values = shared();
  const gradients = new Map(shapes.map(([name, length]) => [name, new Float32Array(length)]));
  const lanes = await Promise.all(
    Array.from({ length: threads }, () => openWorker({ config, options, values, gradients: shared() })),
  );
  return {
    gradients,
    async run(current, batch, { microBatch = batch.labels.length, ...options }) {
      const { tasks, predicted } = laneTasks(config, batch, { ...options, microBatch, lanes: lanes.length });
      let at = 0;
      for (const [name, length] of shapes) {
        values.set(current.get(name)!, at);
        at += length;
      }
      // Even after a failure, wait for all: a worker accepts its next task only when it is done.
      const settled = await Promise.allSettled(tasks.map((task, i) => lanes[i].run(task)));
      const results = settled.map((one) => {
        if (one.status === "rejected") throw one.reason;
        return one.value;
      });
      at = 0;
      for (const [name, length] of shapes) {
        const sum = gradients.get(name)!;
        tasks.forEach((_, i) => {
          const part = lanes[i].gradients.subarray(at, at + length);
          if (i === 0) sum.set(part);
          else addInto(sum, part);
        });
        at += length;
      }
      const nats = results.reduce((sum, result) => sum + result.nats, 0);
      return { loss: results.reduce((sum, { loss }) => sum + loss, 0), bits: nats / Math.LN2 / predicted };
    },
    async dispose() {
      await Promise.all(lanes.map((lane) => lane.close()));
    },
  };
}

interface WorkerLane {
  gradients: Float32Array;
  run(task: LaneTask): Promise<LaneResult>;
  close(): Promise<void>;
}

/** The task with arrays of its own: a message would copy the whole buffer behind a part of an array. */
const ownBuffers = ({ batch, plan, ...task }: LaneTask): LaneTask => ({
  ...task,
  batch: { images: batch.images.slice(), labels: batch.labels.slice() },
  plan: { masks: plan.masks.map((mask) => mask.slice()), down: plan.down.map((down) => down.slice()) },
});

async function openWorker(start: LaneStart): Promise<WorkerLane> {
  const thread = startThread<LaneTask | "close", LaneAnswer>(new URL("./training-lane", import.meta.url), start);
  await thread.next();
  return {
    gradients: start.gradients,
    async run(task) {
      thread.send(ownBuffers(task));
      return ((await thread.next()) as { done: LaneResult }).done;
    },
    async close() {
      thread.send("close");
      await thread.ended();
    },
  };
}
