/** Shards of `fractalgen evaluate likelihood`. */

import type { ModelFolder } from "../files/model.ts";
import type { QueueLikelihoodOptions, ScoredPart } from "../queue/likelihoods.ts";
import type { Running } from "./running.ts";
import { runShard, type ShardFlags } from "./shard.ts";

interface LikelihoodShard {
  folder: ModelFolder;
  scored: ScoredPart;
  options: QueueLikelihoodOptions;
}

/** Scores a shard's images into the shared folder. */
export async function scoreShard(
  flags: ShardFlags,
  args: readonly string[],
  { folder, scored, options }: LikelihoodShard,
  running: Running,
): Promise<void> {
  const { likelihoodJobs } = await import("../queue/likelihoods.ts");
  await runShard(flags, args, running, async ({ executor, all }) =>
    all(await likelihoodJobs(executor, folder, scored, options)),
  );
}
