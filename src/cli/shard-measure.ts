/** Shards of measures that compare generated images with a data set. */

import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import { findInception } from "../files/cache.ts";
import type { ModelFolder } from "../files/model.ts";
import { labelsLike } from "../measures/drawn-set.ts";
import type { OpenedNetwork } from "../measures/feature-network.ts";
import type { ImageSet } from "../measures/image-sets.ts";
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
  /** The sets of real images that are measured with so many generated ones. */
  real: (count: number) => readonly (ImageSet | undefined)[];
}

/**
 * UserError if each shard would train a feature network: their weights depend on the machine and its threads, so their
 * features could not be compared.
 */
export function checkShardNetwork({ features, cache }: { features?: string; cache: string }): void {
  const isTrained = features === "own" || (features === undefined && findInception(cache) === undefined);
  if (isTrained)
    throw new UserError({
      subject: { setting: "features" },
      problem: "each shard would train its own feature network, and their features would differ",
      hint: { do: "train one network first and give its folder to all shards", command: "evaluate features" },
    });
}

/** Generates and measures this shard's images, and this shard's part of the data. */
export async function shardMeasure(
  flags: GeneratedFlags & ShardFlags,
  args: readonly string[],
  { engine, found, dataset, network, real }: Measured,
  running: Running,
): Promise<void> {
  const { signal } = running;
  await runShard(flags, args, running, async (work) => {
    const given = found.model ? undefined : await found.open(engine, dataset);
    if (given) await shardFeatures(work, given, network, { signal });
    else await generate(found.model!);
    for (const set of real(given?.count ?? flags.count)) if (set) await shardFeatures(work, set, network, { signal });

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
