/** The parts of measures that workers can run: scoring images, feature networks and samplers. */

import type { LikelihoodOptions } from "../evaluate/likelihood.ts";
import type { ModelFolder } from "../files/model.ts";
import type { OpenedNetwork } from "../measures/feature-network.ts";
import type { Executor } from "../queue/executor.ts";
import type { ScoredPart } from "../queue/likelihoods.ts";
import type { Sampler } from "../sample/sampler.ts";
import { unusual } from "./engine.ts";
import { openQueue, type QueueFlags } from "./queue-options.ts";
import type { Running } from "./running.ts";

/** The parts of a measure that run on workers. */
export interface Remote {
  executor: Executor;
  score(
    model: ModelFolder,
    part: ScoredPart,
  ): (options: LikelihoodOptions) => ReturnType<typeof import("../queue/likelihoods.ts").queueLikelihoods>;
  network(network: OpenedNetwork): OpenedNetwork;
  sampler(model: ModelFolder, options: { most: number }): Sampler;
}

/** Opens the queue for a measure. Undefined without --queue. */
export async function openRemote(
  flags: QueueFlags,
  { progress, signal, closing }: Pick<Running, "progress" | "signal" | "closing">,
): Promise<Remote | undefined> {
  const executor = await openQueue(flags, { progress, signal });
  if (!executor) return undefined;
  closing(executor, (one) => one.close());
  const { queueLikelihoods } = await import("../queue/likelihoods.ts");
  const { queueNetwork } = await import("../queue/feature-network.ts");
  const { queueSampler } = await import("../queue/sampler.ts");
  return {
    executor,
    score: (model, part) => (options) =>
      queueLikelihoods(executor, model, part, { ...options, precision: unusual(flags.precision) }),
    network: (network) => queueNetwork(executor, network),
    sampler: (model, options) => queueSampler(executor, model, options),
  };
}
