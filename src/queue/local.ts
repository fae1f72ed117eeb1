/** Runs jobs on this machine, in this process: the same jobs as on many machines, without Redis. */

import { createHash } from "node:crypto";
import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import type { Executor } from "./executor.ts";
import type { DataName } from "./jobs.ts";
import { jobRunner } from "./run-job.ts";
import type { Store } from "./store.ts";

/** An executor that runs one job at a time. */
export function localExecutor(engine: Engine, store: Store, { threads }: { threads?: number } = {}): Executor {
  const datasets = new Map<string, Dataset>();
  const runner = jobRunner({ engine, store, threads, datasets });
  let areas = 0;
  let last: Promise<unknown> = Promise.resolve();
  const submit: Executor["submit"] = (job, options) => {
    const result = last.then(() => {
      options.signal?.throwIfAborted();
      return runner.run(job, options);
    });
    last = result.catch(() => {});
    return result as never;
  };
  const run = `run-local-${process.pid}`;
  return {
    store,
    traffic: { read: 0, written: 0 },
    workers: 1,
    async data(dataset) {
      const name = localData(dataset);
      datasets.set(name.file, dataset);
      return name;
    },
    area: () => `${run}/${areas++}`,
    submit,
    async round(jobs, { join, onDone, ...options }) {
      const results = [];
      for (const job of jobs) {
        onDone?.(results.length);
        results.push(await submit(job, options));
      }
      return join(results);
    },
    async close() {
      await last;
      await runner.dispose();
      await store.clear(run);
    },
  };
}

/** The name of a data set that is not in the shared folder. */
export const localData = ({ fingerprint }: Dataset): DataName => ({
  file: createHash("sha256").update(fingerprint).digest("hex"),
  fingerprint,
});
