/** A feature network whose batches are computed by workers. */

import { join } from "node:path";
import { float32 } from "../core/arrays.ts";
import { configName, weightsName } from "../files/model.ts";
import type { OpenedNetwork } from "../measures/feature-network.ts";
import type { Executor } from "./executor.ts";
import type { NetworkName } from "./jobs.ts";

/** The same network on workers. It computes several batches at once. Disposing of it leaves the executor open. */
export function queueNetwork(executor: Executor, network: OpenedNetwork): OpenedNetwork {
  const { store } = executor;
  let name: Promise<NetworkName> | undefined;
  return {
    ...network,
    ahead: 256,
    async run(images, { signal } = {}) {
      const [count, size] = images.shape;
      const area = executor.area();
      try {
        const hash = await store.put(area, images.data as Uint8Array);
        const job = { kind: "features" as const, network: await (name ??= ship()), images: hash, count, size };
        const { values, width, classes } = await executor.submit(job, { area, signal });
        const all = new Float32Array((await store.get(area, values)).buffer);
        return {
          features: float32(all.slice(0, count * width), [count, width]),
          logits: float32(all.slice(count * width), [count, classes]),
        };
      } finally {
        await store.clear(area);
      }
    },
    dispose: () => network.dispose(),
  };

  async function ship(): Promise<NetworkName> {
    const { kind, path } = network;
    if (kind === "inception") return { kind, weights: await store.addFile(path) };
    return {
      kind,
      config: await store.addFile(join(path, configName)),
      weights: await store.addFile(join(path, weightsName)),
    };
  }
}
