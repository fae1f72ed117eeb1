/** How often a job is retried, and the error of a job whose retries failed. */

import type { Job as QueuedJob, JobsOptions } from "bullmq";
import { UserError } from "../core/errors.ts";
import { describedJob } from "./executor.ts";
import type { Job } from "./jobs.ts";

const day = 86_400;

/** Retry settings. Jobs that are not removed explicitly expire. */
export const tries = {
  attempts: 3,
  backoff: { type: "fixed", delay: 1000 },
  removeOnComplete: { age: day / 24 },
  removeOnFail: { age: 7 * day },
} as const satisfies JobsOptions;

/** A job fails after it has lost more workers than this. The limit is high because lost workers are usually not its fault. */
export const mostLostWorkers = 10;

/** The error of a job whose retries failed. */
export function jobError(job: Job, queued: Pick<QueuedJob, "failedReason" | "stacktrace"> | undefined): Error {
  const reason = queued?.failedReason ?? "the reason is unknown";
  // BullMQ's reason for a job whose workers stopped renewing their lock.
  if (reason === "job stalled more than allowable limit")
    return new UserError({
      problem: `${describedJob(job)}: ${mostLostWorkers + 1} workers ended without finishing it, so it was moved to the failed jobs`,
      hint: "look at what these workers said last, or give them more memory; repeat the command to resume",
    });
  const text = `${describedJob(job)} failed three times and was moved to the failed jobs: ${reason}`;
  if (queued && !queued.stacktrace?.at(-1)?.startsWith("UserError")) return new Error(text);
  return new UserError({ problem: text, hint: "repeat the command to retry and resume" });
}
