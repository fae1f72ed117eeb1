/** A worker: takes jobs from the queue until it is told to stop. */

import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Job as QueuedJob } from "bullmq";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import type { QueueAddress } from "./address.ts";
import { openCompute } from "./compute.ts";
import { openConnection } from "./connection.ts";
import { type Answer, type Job, sentJob } from "./jobs.ts";
import { keyPrefix, queueName } from "./names.ts";
import { announce, isThere, present } from "./presence.ts";
import { openStore } from "./store.ts";

/** A worker's queue, folders, device and limits, and its callbacks. */
export interface WorkerOptions {
  address: QueueAddress;
  version: string;
  shared: string;
  cache: string;
  device: Provider;
  threads?: number;
  /** Another worker takes over a killed worker's job within this time. */
  stalledSeconds: number;
  /** How long a stopping worker continues with its job before returning it to the queue. */
  graceSeconds: number;
  /** Called with lines for the user. */
  onNote: (line: string) => void;
  /** Called when the worker is ready for jobs. */
  onReady?: (name: string) => void;
  /** Called after each job. */
  onJob?: (done: { job: Job; seconds: number; error?: string }) => void;
  /** Ends the worker. */
  signal: AbortSignal;
}

/** A job that keeps killing its workers fails in the end. The limit is high because kills are usually not its fault. */
const mostStalls = 25;
const lookMs = 1000;

/** Works until the signal stops it. Throws a UserError if Redis, the shared folder or the device is not available. */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { address, version, shared, cache, device, threads, onNote, signal } = options;
  await openStore(shared, { cache });
  const compute = await openCompute({ shared, cache, device, threads });
  const connection = await openConnection(address, { onNote, signal });
  const { client } = connection;
  const { Worker, WaitingError } = await import("bullmq");
  const name = `${hostname()}:${process.pid}`;
  const presence = await announce(client, "worker", { id: name, name, version, device });
  const giving = new AbortController();
  let state: "open" | "closed" = "open";

  async function work(queued: QueuedJob, token?: string): Promise<Answer> {
    const { job, run, area } = sentJob.parse(queued.data);
    const none = { traffic: { read: 0, written: 0 }, seconds: 0 };
    const started = performance.now();
    const gone = new AbortController();
    let over = false;
    const look = async () => {
      while (!over && !gone.signal.aborted) {
        if (!(await isThere(client, run))) gone.abort();
        await sleep(lookMs, undefined, { ref: false });
      }
    };
    if (!(await isThere(client, run))) return { ...none, dropped: true };
    look().catch(() => {});
    const told = (error?: string) =>
      options.onJob?.({ job, seconds: (performance.now() - started) / 1000, ...(error !== undefined && { error }) });
    try {
      const done = await compute.run(job, { area, signal: AbortSignal.any([gone.signal, giving.signal]) });
      told();
      return { ...done, seconds: (performance.now() - started) / 1000 };
    } catch (error) {
      if (gone.signal.aborted) return { ...none, dropped: true };
      if (giving.signal.aborted) {
        await queued.moveToWait(token);
        throw new WaitingError();
      }
      const { message } = error as Error;
      told(message);
      throw failed(error, name);
    } finally {
      over = true;
    }
  }

  const lockMs = options.stalledSeconds * 500;
  const worker = new Worker(queueName({ version, device }), work, {
    connection: client,
    prefix: keyPrefix,
    name,
    lockDuration: lockMs,
    stalledInterval: Math.round(options.stalledSeconds * 300),
    maxStalledCount: mostStalls,
    drainDelay: 2,
    metrics: { maxDataPoints: 1440 },
  });
  worker.on("error", ({ message }) => {
    if (state === "open" && /lock/i.test(message)) onNote(`another worker took over a job from this one (${message})`);
  });
  try {
    await worker.waitUntilReady();
    options.onReady?.(name);
    await untilStopped();
  } finally {
    const late = setTimeout(() => giving.abort(), 1000 * options.graceSeconds);
    // Without Redis a job cannot be returned to the queue; another worker takes it over, as after a kill.
    const closed = worker.close();
    const away = (async () => {
      while (client.status === "ready") await sleep(lookMs / 4, undefined, { ref: false });
    })();
    await Promise.race([closed, away]);
    state = "closed";
    clearTimeout(late);
    if (client.status !== "ready") await worker.close(true).catch(() => {});
    await presence.end();
    connection.close();
    await compute.close();
  }

  /** Waits for the stop signal, and meanwhile reports commands of other versions. */
  async function untilStopped(): Promise<void> {
    const told = new Set<string>();
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve());
    });
    const looking = setInterval(async () => {
      const runs = await present(client, "run").catch(() => []);
      for (const { name: other, version: others } of runs) {
        if (others === version || told.has(other)) continue;
        told.add(other);
        onNote(
          `the command ${other} has version ${others} and this worker ${version}, so it cannot run that command's jobs; start a worker of version ${others}`,
        );
      }
    }, lookMs);
    await stopped;
    clearInterval(looking);
  }
}

/** The error as BullMQ stores it: its first line names the worker. */
function failed(error: unknown, name: string): Error {
  const { message, stack } = error as Error;
  const text = `${message} (on ${name})`;
  if (error instanceof UserError) return new UserError(text);
  const copy = new Error(text);
  if (stack !== undefined) copy.stack = stack.replace(message, text);
  return copy;
}
