/** How often a job is tried, and what is said of one that fails for good. */

import type { Job as QueuedJob, JobsOptions } from "bullmq";
import { UserError } from "../core/errors.ts";
import { describedJob } from "./executor.ts";
import type { Job } from "./jobs.ts";

const day = 86_400;

/** How jobs are tried. What nobody removes goes automatically. */
export const tries = {
  attempts: 3,
  backoff: { type: "fixed", delay: 1000 },
  removeOnComplete: { age: day / 24 },
  removeOnFail: { age: 7 * day },
} as const satisfies JobsOptions;

/** A job that failed for good. */
export function jobError(job: Job, queued: Pick<QueuedJob, "failedReason" | "stacktrace"> | undefined): Error {
  const reason = queued?.failedReason ?? "its reason is lost";
  const text = `${describedJob(job)} failed three times, so the job was put aside in the queue: ${reason}`;
  if (queued && !queued.stacktrace?.at(-1)?.startsWith("UserError")) return new Error(text);
  return new UserError({ problem: text, hint: "the same command tries again and goes on from here" });
}
