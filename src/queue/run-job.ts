/** Runs jobs on this machine. A job's resource stays open for the next job, which usually shares it. */

import { UserError } from "../core/errors.ts";
import { openFeatures } from "./features.ts";
import type { Job, JobOf, Result, Results } from "./jobs.ts";
import { openLikelihood } from "./likelihood.ts";
import { openReplica } from "./replica.ts";
import { openSampling } from "./sampling.ts";
import type { JobContext, JobKind, JobOptions, OpenedJobs } from "./job-kind.ts";

const kinds: { [K in Job["kind"]]: JobKind<JobOf<K>, Results[K]> } = {
  sample: openSampling,
  likelihood: openLikelihood,
  features: openFeatures,
  replica: openReplica,
};

/** Runs jobs one at a time. */
export interface JobRunner {
  run(job: Job, options: JobOptions): Promise<Result>;
  dispose(): Promise<void>;
}

/** A runner of jobs of every kind. */
export function jobRunner(context: JobContext): JobRunner {
  let open: { key: string; opened: OpenedJobs<Job, Result> } | undefined;

  async function close(): Promise<void> {
    const last = open;
    open = undefined;
    await last?.opened.dispose();
  }

  return {
    async run(job, options) {
      const kind = kinds[job.kind] as JobKind<Job, Result>;
      const key = `${job.kind} ${kind.key(job)}`;
      if (open?.key !== key) {
        await close();
        open = { key, opened: await kind.open(context, job) };
      }
      try {
        return await open.opened.run(job, options);
      } catch (error) {
        // A lost thread cannot be reused. After a user error or a stop, everything stays open.
        if (!(error instanceof UserError) && !options.signal?.aborted) await close().catch(() => {});
        throw error;
      }
    },
    dispose: close,
  };
}
