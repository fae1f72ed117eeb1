/** Jobs that compute features of images. */

import { uint8 } from "../core/arrays.ts";
import type { Engine } from "../engine/engine.ts";
import { type FeatureNetwork, inceptionNetwork } from "../evaluate/features.ts";
import { openOwnFeatures } from "../evaluate/own-features.ts";
import type { JobOf, NetworkName, Results } from "./jobs.ts";
import { cachedFolder } from "./objects.ts";
import type { JobKind } from "./job-kind.ts";
import type { Store } from "./store.ts";

/** A feature network. */
export const openFeatures: JobKind<JobOf<"features">, Results["features"]> = {
  key: ({ network }) => JSON.stringify(network),
  async open({ engine, store }, { network: name }) {
    const network = await networkOf(engine, store, name);
    return {
      async run({ images, count, size }, { area }) {
        const bytes = await store.get(area, images);
        const { features, logits } = await network.run(uint8(bytes, [count, size, size, 3]));
        const values = new Float32Array(features.data.length + logits.data.length);
        values.set(features.data);
        values.set(logits.data, features.data.length);
        const hash = await store.put(area, new Uint8Array(values.buffer));
        return { values: hash, width: features.shape[1], classes: logits.shape[1] };
      },
      dispose: () => network.dispose(),
    };
  },
};

async function networkOf(
  engine: Engine,
  store: Store,
  { kind, config, weights }: NetworkName,
): Promise<Pick<FeatureNetwork, "run" | "dispose">> {
  if (kind === "own") return openOwnFeatures(engine, await cachedFolder(store, { config: config!, weights }));
  const at = { folder: "queue", name: `inception-${weights.slice(0, 24)}.safetensors` };
  return inceptionNetwork(engine, await store.cached(weights, at));
}
