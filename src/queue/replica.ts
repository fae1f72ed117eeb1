/** Jobs of distributed training: the steps that one replica takes in a round. */

import { readFile } from "node:fs/promises";
import { parseModelConfig } from "../config/model.ts";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { encodeDifference } from "../train/differences.ts";
import { gradientsOf } from "../train/one-step.ts";
import { openOptimizer } from "../train/optimizer.ts";
import { packed, packedLength, packedMoments, unpacked, unpackedMoments } from "../train/packed.ts";
import { batchNumber, replicaSteps } from "../train/replica.ts";
import { batchSource } from "../data/batches.ts";
import { globalNorm } from "../core/adamw.ts";
import { parallelTrainingStep } from "../workers/training.ts";
import { type JobOf, keyOf, type Results } from "./jobs.ts";
import { openData } from "./objects.ts";
import type { JobKind } from "./job-kind.ts";
import { bytesOf, floatsOf } from "./round-state.ts";

type ReplicaJob = JobOf<"replica">;

const trainingOf = ({ training }: ReplicaJob): TrainingConfig => parseTrainingConfig(training, "the training job");

/** The compiled training step and optimiser of a model, and a data set. */
export const openReplica: JobKind<ReplicaJob, Results["replica"]> = {
  key: ({ config, training, data }) => JSON.stringify([config, training, data]),
  async open({ engine, store, datasets }, first) {
    const path = await store.cached(first.config, { folder: "queue", name: `${first.config.slice(0, 24)}.json` });
    const model = parseModelConfig(JSON.parse(await readFile(path, "utf8")), path);
    const training = trainingOf(first);
    const dataset = datasets?.get(first.data.file) ?? (await openData(store, first.data));
    const step = await parallelTrainingStep(model, { ...training, provider: engine.provider });
    const optimizer = training.sync ? undefined : await openOptimizer(engine, model, training);
    const count = packedLength(model);

    /** A restarted command submits the job again; finished work is not repeated. */
    async function remembering(job: ReplicaJob, area: string, compute: () => Promise<Results["replica"]>) {
      const name = keyOf(job);
      const known = await store.recall<Results["replica"]>(area, name);
      if (known) return known;
      const result = await compute();
      await store.remember(area, name, result);
      return result;
    }

    const floats = async (area: string, hash: string) => floatsOf(await store.get(area, hash));

    async function gradients(job: ReplicaJob, area: string): Promise<Results["replica"]> {
      const values = unpacked(model, await floats(area, job.values));
      const number = batchNumber(job.step, job.replica, training);
      const { loss, bits } = await gradientsOf(step, values, batchSource(dataset, training), { training, number });
      const difference = await store.put(area, bytesOf(packed(model, step.gradients)));
      return { difference, state: "", steps: [{ loss, bits, gradientNorm: globalNorm(step.gradients.values()) }] };
    }

    return {
      run: (job, { area, signal }) =>
        remembering(job, area, async () => {
          if (!optimizer) return gradients(job, area);
          const start = await floats(area, job.values);
          const values = unpacked(model, start.slice());
          const exact = training.differences === "float32";
          const { moments, rest: residual } = unpackedMoments(model, training, {
            all: job.state === undefined ? undefined : await floats(area, job.state),
            count: exact ? 0 : count,
          });
          const state = { values, moments };
          const { replica, step: from, count: steps } = job;
          const task = { training, dataset, state, step, optimizer, replica, from, count: steps, signal };
          const records = await replicaSteps(task);
          const difference = packed(model, values).map((value, i) => start[i] - value + (residual[i] ?? 0));
          const sent = encodeDifference(difference, training.differences);
          const lost = exact ? undefined : difference;
          return {
            difference: await store.put(area, sent),
            state: await store.put(area, bytesOf(packedMoments(model, moments, lost))),
            steps: records,
          };
        }),
      async dispose() {
        await step.dispose();
        await optimizer?.dispose();
      },
    };
  },
};
