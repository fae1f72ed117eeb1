/** Shards of the features of images. */

import { uint8 } from "../core/arrays.ts";
import { inBatches } from "../evaluate/features.ts";
import type { OpenedNetwork } from "../measures/feature-network.ts";
import { type ImageSet, inColour } from "../measures/image-sets.ts";
import type { Executor } from "../queue/executor.ts";
import { queueNetwork } from "../queue/feature-network.ts";
import type { Work } from "./shard.ts";

/** The features of a shard's batches of a set. `own` decides by a batch's number whether it is the shard's. */
export async function shardFeatures(
  { shard, executor }: Pick<Work, "shard" | "executor">,
  set: ImageSet,
  network: OpenedNetwork,
  { signal, own = shard.mine }: { signal: AbortSignal; own?: (batch: number) => boolean },
): Promise<void> {
  const submit: Executor["submit"] = (job, options) => shard.run(job, options);
  const store = { ...executor.store, put: (_: string, bytes: Uint8Array) => executor.store.put(shard.area, bytes) };
  const kept = queueNetwork({ ...executor, submit, store: { ...store, get: keptGet, clear: async () => {} } }, network);
  function keptGet(_: string, hash: string): ReturnType<Executor["store"]["get"]> {
    return executor.store.get(shard.area, hash);
  }
  let batch = 0;
  for await (const images of inBatches(inColour(set, { signal }), featureBatch)) {
    if (!own(batch++)) continue;
    const { size } = set;
    const bytes = new Uint8Array(images.length * size * size * 3);
    images.forEach((image, i) => bytes.set(image, i * size * size * 3));
    await kept.run(uint8(bytes, [images.length, size, size, 3]));
  }
}

/** The batch size of feature networks, which is also the default of `measure`. */
export const featureBatch = 16;
