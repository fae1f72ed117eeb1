/** The queue of `fractalgen serve --queue`: samplers whose batches are drawn by workers, and the queue's state. */

import type { Sampler } from "../sample/sampler.ts";
import type { ServerOptions } from "../server/app.ts";
import { openLeader } from "../queue/leader.ts";
import { modelShipper } from "../queue/objects.ts";
import { queueAddress } from "../queue/address.ts";
import { queueSampler } from "../queue/sampler.ts";
import { queuesPage } from "../server/queues.ts";
import { defaultCache } from "../files/cache.ts";
import { checkQueue, lonelyLine } from "./queue-options.ts";
import { version } from "./version.ts";

interface ServerQueueOptions {
  queue: string;
  shared?: string;
  /** Whether to serve the page that shows the queue. */
  page: boolean;
}

/** Batches in the queue at once. */
const lanes = 64;

/** Opens the queue. `close` it after the server. */
export async function openServerQueue({
  queue,
  shared,
  page,
}: ServerQueueOptions): Promise<Pick<ServerOptions, "elsewhere" | "open"> & { close(): Promise<void> }> {
  checkQueue({ queue, shared });
  const leader = await openLeader({
    address: queueAddress(queue),
    version,
    shared: shared!,
    cache: defaultCache(),
    device: "cpu",
    onNote: (line) => console.error(line),
    onLonely: () => console.error(lonelyLine({ shared: shared!, device: "cpu" })),
  });
  const jobs = { most: Number.POSITIVE_INFINITY, ship: modelShipper(leader.store) };
  return {
    open: ({ folder }) => withoutUserErrors(queueSampler(leader, folder, jobs)),
    elsewhere: {
      lanes,
      workers: () => leader.workers,
      metrics: () => leader.metrics(),
      queues: page ? await queuesPage([leader.queue]) : undefined,
    },
    close: () => leader.close(),
  };
}

/** An error on a worker is not the client's mistake. */
function withoutUserErrors(sampler: Sampler): Sampler {
  return {
    ...sampler,
    async *sample(options) {
      try {
        return yield* sampler.sample(options);
      } catch (error) {
        if (options.signal?.aborted) throw error;
        throw new Error((error as Error).message, { cause: error });
      }
    },
  };
}
