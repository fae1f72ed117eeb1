/** Plain data parallelism: a training step whose gradients are computed by replicas, each on its own batch. */

import type { ModelConfig } from "../config/model.ts";
import type { TrainingConfig } from "../config/training.ts";
import { product } from "../core/arrays.ts";
import { modelParameters } from "../model/parameters.ts";
import { packed, unpacked } from "../train/packed.ts";
import type { TrainingStep } from "../train/step.ts";
import type { Executor } from "./executor.ts";
import { bytesOf, floatsOf } from "./round-state.ts";
import { roundJobs, type Rounds } from "./rounds.ts";

/** A step for `train`, whose loss and gradients are the means over the replicas. It ignores its batch argument. */
export function distributedStep(
  executor: Executor,
  named: Pick<Rounds, "config" | "data">,
  { model, training, signal }: { model: ModelConfig; training: TrainingConfig; signal?: AbortSignal },
): TrainingStep {
  const { store } = executor;
  const gradients = new Map(
    modelParameters(model).map(({ name, shape }) => [name, new Float32Array(product(shape))] as const),
  );
  const states = Array.from({ length: training.replicas }, () => undefined);
  return {
    gradients,
    async run(values, _batch, { number }) {
      const area = executor.area();
      try {
        const start = await store.put(area, bytesOf(packed(model, values)));
        const jobs = roundJobs(named, training, { values: start, states, step: number!, count: 1 });
        return await executor.round(jobs, {
          area,
          signal,
          async join(results) {
            for (const sum of gradients.values()) sum.fill(0);
            for (const { difference } of results)
              for (const [name, part] of unpacked(model, floatsOf(await store.get(area, difference)))) {
                const sum = gradients.get(name)!;
                for (let i = 0; i < sum.length; i++) sum[i] += part[i] / results.length;
              }
            const mean = (of: "loss" | "bits") =>
              results.reduce((sum, { steps: [step] }) => sum + step[of], 0) / results.length;
            return { loss: mean("loss"), bits: mean("bits") };
          },
        });
      } finally {
        await store.clear(area);
      }
    },
    dispose: async () => {},
  };
}
