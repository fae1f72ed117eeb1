/** Shards of `fractalgen sample`. */

import { shipModel } from "../queue/objects.ts";
import { rangesOf, sampleJob } from "../queue/sampler.ts";
import { usualBatch } from "../workers/sampler.ts";
import type { DrawingFlags } from "./drawing-options.ts";
import { unusual } from "./engine.ts";
import { withProgress } from "./running.ts";
import type { WantedImages } from "./sample-each.ts";
import { runShard, type ShardFlags } from "./shard.ts";

/** Draws a shard's images into the shared folder. */
export async function drawShard(
  flags: DrawingFlags & ShardFlags,
  args: readonly string[],
  { labels, written }: WantedImages,
): Promise<void> {
  const { model, settings } = written;
  await withProgress({ quiet: flags.json, left: "; repeat the command to resume" }, (running) =>
    runShard(flags, args, running, async ({ executor, all }) => {
      const name = await shipModel(executor.store, model, running);
      const options = { labels, seed: flags.seed, precision: unusual(flags.precision), ...settings };
      await all(
        rangesOf(labels.length, flags.batch ?? usualBatch).map((range) =>
          sampleJob(model.config, name, options, range),
        ),
      );
    }),
  );
}
