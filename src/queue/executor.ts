/** The interface for running jobs: on workers through a queue, or on this machine. */

import { inOrder } from "../data/in-order.ts";
import type { Dataset } from "../data/dataset.ts";
import type { DataName, Job, JobOf, Results } from "./jobs.ts";
import type { Store, Traffic } from "./store.ts";

/** Runs jobs, here or on other machines. */
export interface Executor {
  store: Store;
  /** Bytes that all machines transferred through the shared folder. */
  readonly traffic: Traffic;
  /** The number of connected workers. */
  readonly workers: number;
  /** Makes a data set available to jobs. */
  data(dataset: Dataset): Promise<DataName>;
  /** A new area in the shared folder for a job's files. */
  area(): string;
  /** Runs one job. After three failures, throws the last error. */
  submit<J extends Job>(job: J, options: SubmitOptions): Promise<Results[J["kind"]]>;
  /** Runs a round's jobs, and then `join` with their results in order. */
  round<T>(jobs: readonly JobOf<"replica">[], options: RoundOptions<T>): Promise<T>;
  /** Removes all unfinished jobs, and the areas. */
  close(): Promise<void>;
}

export interface SubmitOptions {
  area: string;
  signal?: AbortSignal;
}

export interface RoundOptions<T> extends SubmitOptions {
  join(results: Results["replica"][]): Promise<T>;
  /** Called with the number of jobs that are done, from 0 on. */
  onDone?(count: number): void;
}

/** Jobs of a command in the queue at once: enough that every worker finds its next job waiting. */
const ahead = 256;

/** Works on several items at once. Yields the results in the order of the items. */
export const severalAtOnce = <T, R>(
  items: AsyncIterable<T> | Iterable<T>,
  work: (item: T, options: { signal: AbortSignal }) => Promise<R>,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<R> => inOrder(items, work, { ahead, signal });

/** Describes a job for a message. */
export function describedJob(job: Job): string {
  switch (job.kind) {
    case "sample": {
      const { indices } = job;
      return indices.length === 1 ? `image ${indices[0]}` : `images ${indices[0]} to ${indices.at(-1)}`;
    }
    case "likelihood":
      return `the likelihoods of images ${job.from} to ${job.to - 1}`;
    case "features":
      return `the features of ${job.count} images`;
    case "replica":
      return `replica ${job.replica}'s part of the round from step ${job.step}`;
  }
}
