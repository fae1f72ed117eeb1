/** A worker: takes jobs from the queue until it is told to stop. */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Job as QueuedJob } from "bullmq";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import type { QueueAddress } from "./address.ts";
import { openCompute } from "./compute.ts";
import { openConnection, type QueueConnection } from "./connection.ts";
import { type Answer, type Job, sentJob } from "./jobs.ts";
import { keyPrefix, queueName } from "./names.ts";
import { announce, isThere, ownPresence, present } from "./presence.ts";
import { explainedReply, isReply } from "./replies.ts";
import { openStore } from "./store.ts";
import { mostLostWorkers } from "./tries.ts";

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

const lookMs = 1000;
/** How long a stopping worker waits for its thread after its job was returned to the queue, and for BullMQ. */
const endMs = 3000;
/** A pause after a failed job, so that other workers retry it first: the cause may be this machine. Doubles with each consecutive failure. */
const restSeconds = 5;
const mostDoublings = 3;

/**
 * Works until the signal stops it. Returns whether its compute thread has ended: a long computation ends only with the
 * process. Throws a UserError if Redis, a folder or the device is not available.
 */
export async function runWorker(options: WorkerOptions): Promise<boolean> {
  const { address, shared, cache, onNote, signal } = options;
  const store = await openStore(shared, { cache });
  const connection = await openConnection(address, { onNote, signal });
  try {
    await store.probe();
    return await workOn(connection, options);
  } catch (error) {
    throw explainedReply(error, address.name);
  } finally {
    connection.close();
  }
}

async function workOn(connection: QueueConnection, options: WorkerOptions): Promise<boolean> {
  const { address, version, shared, cache, device, threads, onNote, signal } = options;
  const { client, whileHere } = connection;
  const compute = await openCompute({ shared, cache, device, threads });
  try {
    const own = ownPresence({ version, device });
    // Containers can share a host name and process IDs.
    const id = `${own.name}:${randomBytes(4).toString("hex")}`;
    const presence = await announce(client, "worker", { id, ...own });
    try {
      await work(own.name);
    } finally {
      await whileHere(presence.end(), endMs);
    }
  } catch (error) {
    await compute.close(endMs);
    throw error;
  }
  return compute.close(endMs);

  /** Takes jobs until the signal stops it. */
  async function work(name: string): Promise<void> {
    const { Worker, WaitingError } = await import("bullmq");
    const giving = new AbortController();
    const given = new Promise<never>((_, reject) => {
      giving.signal.addEventListener("abort", () => reject(giving.signal.reason as Error));
    });
    given.catch(() => {});
    let state: "open" | "closed" = "open";
    let failures = 0;
    const refusals = new Set<string>();
    let rest: NodeJS.Timeout | undefined;

    async function run(queued: QueuedJob, token?: string): Promise<Answer> {
      const { job, run, area } = sentJob.parse(queued.data);
      const started = performance.now();
      const seconds = () => (performance.now() - started) / 1000;
      const gone = new AbortController();
      const dropped = (): Answer => {
        queued.opts.removeOnComplete = true; // nobody waits for it
        return { dropped: true, traffic: { read: 0, written: 0 }, seconds: 0 };
      };
      let over = false;
      const look = async () => {
        while (!over && !gone.signal.aborted) {
          if (!(await isThere(client, run))) gone.abort();
          await sleep(lookMs, undefined, { ref: false });
        }
      };
      if (!(await isThere(client, run))) return dropped();
      look().catch(() => {});
      const told = (error?: string) =>
        options.onJob?.({ job, seconds: seconds(), ...(error !== undefined && { error }) });
      try {
        const computing = compute.run(job, { area, signal: AbortSignal.any([gone.signal, giving.signal]) });
        // Within a long computation, the thread does not see the signal.
        const done = await Promise.race([computing, given]);
        told();
        failures = 0;
        return { ...done, seconds: seconds() };
      } catch (error) {
        if (gone.signal.aborted) return dropped();
        if (giving.signal.aborted) {
          await queued.moveToWait(token);
          throw new WaitingError();
        }
        const { message } = error as Error;
        told(message);
        await resting(restSeconds * 2 ** Math.min(failures++, mostDoublings));
        throw failed(error, name);
      } finally {
        over = true;
      }
    }

    /** Takes no job for a while. */
    async function resting(seconds: number): Promise<void> {
      if (signal.aborted || worker.isPaused()) return;
      await worker.pause(true);
      rest = setTimeout(() => void worker.resume(), 1000 * seconds);
    }

    const lockMs = options.stalledSeconds * 500;
    const worker = new Worker(queueName({ version, device }), run, {
      connection: client,
      prefix: keyPrefix,
      name,
      skipVersionCheck: true,
      lockDuration: lockMs,
      stalledInterval: Math.round(options.stalledSeconds * 300),
      maxStalledCount: mostLostWorkers,
      drainDelay: 2,
      metrics: { maxDataPoints: 1440 },
    });
    worker.on("error", (error) => {
      if (state !== "open") return;
      const { message } = error;
      if (isReply(error)) {
        if (!refusals.has(message)) onNote((explainedReply(error, address.name) as Error).message);
        refusals.add(message);
        void resting(restSeconds); // BullMQ would ask again at once
      } else if (/lock/i.test(message)) onNote(`another worker took over a job from this one (${message})`);
    });
    const stopped = untilStopped();
    try {
      await Promise.race([worker.waitUntilReady(), stopped]);
      if (!signal.aborted) options.onReady?.(name);
      await stopped;
    } finally {
      clearTimeout(rest);
      const late = setTimeout(() => giving.abort(), 1000 * options.graceSeconds);
      const closed = worker.close();
      // Without Redis a job cannot be returned to the queue; another worker takes it over, as after a kill.
      await whileHere(closed, 1000 * options.graceSeconds + endMs);
      state = "closed";
      clearTimeout(late);
      giving.abort();
    }
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
  if (error instanceof UserError) return new UserError({ problem: text });
  const copy = new Error(text);
  if (stack !== undefined) copy.stack = stack.replace(message, text);
  return copy;
}
