/** The interface of a job kind, for the runner. */

import { UserError } from "../core/errors.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import type { Job, JobPrecision } from "./jobs.ts";
import type { Store } from "./store.ts";

/** The context of a job. */
export interface JobContext {
  engine: Engine;
  /** Opens an engine on the same device that computes products in float16; if it cannot, its `fallback` has the reason. */
  half?: () => Promise<Engine>;
  store: Store;
  threads?: number;
  /** Data sets that are open in this process, by the hash in their jobs. */
  datasets?: ReadonlyMap<string, Dataset>;
}

/** The engine for a job's precision. Throws a UserError if there is none: another precision would change the results. */
export async function engineFor({ engine, half }: JobContext, precision: JobPrecision): Promise<Engine> {
  if (precision === undefined || engine.precision === precision) return engine;
  const found = (await half?.()) ?? engine;
  if (found.precision === precision) return found;
  const problem = found.fallback ?? `${precision} is not available on ${found.provider} here`;
  throw new UserError({ subject: { setting: "precision" }, problem });
}

export interface JobOptions {
  /** The job's folder in the shared folder. */
  area: string;
  signal?: AbortSignal;
}

/** A resource, such as a compiled model, for the jobs of one kind that share a key. */
export interface OpenedJobs<J extends Job, R> {
  run(job: J, options: JobOptions): Promise<R>;
  dispose(): Promise<void>;
}

/** A kind of job: the resource its jobs share, identified by a key, and how to open it. */
export interface JobKind<J extends Job, R> {
  key(job: J): string;
  open(context: JobContext, job: J): Promise<OpenedJobs<J, R>>;
}
