/** Shards of measures that compare generated images with a data set. */

import { UserError } from "../core/errors.ts";
import { type Dataset, evenly } from "../data/dataset.ts";
import type { ModelFolder } from "../files/model.ts";
import { labelsLike } from "../measures/drawn-set.ts";
import type { OpenedNetwork } from "../measures/feature-network.ts";
import { type ImageSet, partSet } from "../measures/image-sets.ts";
import { shipModel } from "../queue/objects.ts";
import { rangesOf, sampleJob } from "../queue/sampler.ts";
import type { Engine } from "../engine/engine.ts";
import type { Generated, GeneratedFlags } from "./generated.ts";
import type { Running } from "./running.ts";
import { settingsOf } from "./sampling-options.ts";
import { runShard, type ShardFlags } from "./shard.ts";
import { usualMeasured } from "./generated-options.ts";
import { featureBatch, shardFeatures } from "./shard-features.ts";

interface Measured {
  engine: Engine;
  found: Generated;
  /** The reference data, unless the reference is a file of statistics. */
  dataset?: Dataset;
  network: OpenedNetwork;
}

/** Generates and measures this shard's images, and this shard's part of the data. */
export async function shardMeasure(
  flags: GeneratedFlags & ShardFlags,
  args: readonly string[],
  { engine, found, dataset, network }: Measured,
  running: Running,
): Promise<void> {
  const { signal } = running;
  await runShard(flags, args, running, async (work) => {
    if (found.model) await generate(found.model);
    else await shardFeatures(work, await found.open(engine, dataset), network, { signal });
    if (!dataset) return;
    const sets: ImageSet[] = [
      partSet(dataset, "all"),
      partSet(dataset, "train"),
      partSet(dataset, "held-out"),
      partSet({ ...dataset, heldOut: evenly(dataset.heldOut, flags.count) }, "held-out"),
    ];
    for (const set of sets) if (set.count > 0) await shardFeatures(work, set, network, { signal });

    async function generate(model: ModelFolder): Promise<void> {
      const { count, seed, batch = usualMeasured } = flags;
      if (batch % featureBatch !== 0)
        throw new UserError({
          subject: { setting: "batch" },
          expected: `a multiple of ${featureBatch} with --shard, since images are measured in batches of ${featureBatch}`,
          got: String(batch),
        });
      const { imageSize: size, channels } = model.config;
      const labelOf = labelsLike(model.config.classes, dataset);
      const options = {
        labels: Array.from({ length: count }, (_, i) => labelOf(i)),
        seed,
        ...settingsOf(flags, model.config),
      };
      const { store } = work.executor;
      const name = await shipModel(store, model, { signal });
      for (const [n, range] of rangesOf(count, batch).entries()) {
        if (!work.shard.mine(n)) continue;
        running.progress.update(`images ${range[0]} to ${range[1] - 1} of ${count}`);
        const { images: hash } = await work.shard.run(sampleJob(model.config, name, options, range), { signal });
        const bytes = await store.get(work.shard.area, hash);
        const each = size * size * channels;
        const set: ImageSet = {
          name: "generated",
          count: range[1] - range[0],
          size,
          channels,
          skipped: [],
          async *images() {
            for (let at = 0; at < bytes.length; at += each) yield bytes.subarray(at, at + each);
          },
        };
        await shardFeatures(work, set, network, { signal, own: () => true });
      }
    }
  });
}
