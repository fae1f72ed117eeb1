/** A command's side of the queue: sends jobs, waits for their results, and cleans up. */

import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Provider } from "../engine/engine.ts";
import type { Queue } from "bullmq";
import type { QueueAddress } from "./address.ts";
import { openConnection, type QueueConnection } from "./connection.ts";
import type { Executor } from "./executor.ts";
import type { Answer, Job, SentJob } from "./jobs.ts";
import { keyPrefix, queueName } from "./names.ts";
import { shipData } from "./objects.ts";
import { announce, isThere, ownPresence } from "./presence.ts";
import { explainedReply } from "./replies.ts";
import { openStore, type Store, type Traffic } from "./store.ts";
import { jobError, tries } from "./tries.ts";
import { watchWorkers } from "./watch-workers.ts";

/** The queue, the shared folder, and the command that uses them. */
export interface LeaderOptions {
  address: QueueAddress;
  version: string;
  shared: string;
  cache: string;
  device: Provider;
  /** Called with lines for the user. */
  onNote: (line: string) => void;
  /** Called when jobs have been waiting for a worker for a few seconds. */
  onLonely?: () => void;
  signal?: AbortSignal;
}

/** Events can be lost on reconnect, so jobs are polled at this interval. */
const lookMs = 5000;
/** How long a stopping command waits for workers to drop its jobs, and then for BullMQ. */
const leaveMs = 10_000;
const closeMs = 3000;

interface Pending {
  job: Job;
  /** Whether it is in the queue yet. */
  added: boolean;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** An executor on a queue, and the queue itself. */
export interface Leader extends Executor {
  queue: Queue<SentJob, Answer>;
  /** The queue's metrics in Prometheus's text format. */
  metrics(): Promise<string>;
}

/** Opens the queue. Throws a UserError if Redis or the shared folder is not available, or if Redis refuses writes. */
export async function openLeader(options: LeaderOptions): Promise<Leader> {
  const { address, shared, cache, onNote, signal } = options;
  const store = await openStore(shared, { cache });
  const connection = await openConnection(address, { onNote, signal });
  try {
    return await leaderOn(connection, store, options);
  } catch (error) {
    connection.close();
    throw explainedReply(error, address.name);
  }
}

async function leaderOn(connection: QueueConnection, store: Store, options: LeaderOptions): Promise<Leader> {
  const { address, version, device, onNote, onLonely = () => {}, signal } = options;
  const { client, whileHere } = connection;
  const bullmq = await import("bullmq");
  const run = `run-${randomBytes(8).toString("hex")}`;
  const presence = await announce(client, "run", { id: run, ...ownPresence({ version, device }) });
  const base = { connection: client, prefix: keyPrefix, skipVersionCheck: true };
  const queue = new bullmq.Queue<SentJob, Answer>(queueName({ version, device }), base);
  const events = new bullmq.QueueEvents(queue.name, base);
  queue.on("error", () => {}); // the connection reports them
  events.on("error", () => {});
  const closed = () => whileHere(Promise.all([queue.close(), events.close()]), closeMs);
  try {
    await stoppable(events.waitUntilReady(), signal);
  } catch (error) {
    await closed();
    throw error;
  }
  const pending = new Map<string, Pending>();
  const sent: Traffic = { read: 0, written: 0 };
  const watching = watchWorkers(client, { version, device, onNote, onLonely, busy: () => pending.size > 0 });
  let jobs = 0;
  let areas = 0;

  function count({ read, written }: Traffic): void {
    sent.read += read;
    sent.written += written;
  }

  async function completed(id: string): Promise<void> {
    // Read after the completion event: a job read earlier has no answer yet.
    const queued = await queue.getJob(id);
    const waiting = pending.get(id);
    if (!waiting) return;
    if (!queued) return waiting.resolve(nothing); // a worker dropped it
    if (!queued.returnvalue) return;
    pending.delete(id);
    await queued.remove().catch(() => {});
    waiting.resolve(queued.returnvalue);
  }

  async function failed(id: string): Promise<void> {
    const waiting = pending.get(id);
    if (!waiting) return;
    pending.delete(id);
    const queued = await queue.getJob(id);
    waiting.reject(jobError(waiting.job, queued));
  }

  const later = () => {}; // the next poll tries again
  events.on("completed", ({ jobId }) => void completed(jobId).catch(later));
  events.on("failed", ({ jobId }) => void failed(jobId).catch(later));
  /** Settles jobs whose events were lost, and resends jobs that Redis lost. */
  const look = async () => {
    for (const [id, { added, resolve }] of pending) {
      if (!added) continue;
      const queued = await queue.getJob(id);
      if (!pending.has(id)) continue; // an event was faster
      if (!queued) resolve(nothing);
      else if (await queued.isCompleted()) await completed(id);
      else if (await queued.isFailed()) await failed(id);
    }
  };
  const looking = setInterval(() => void look().catch(later), lookMs);
  void store.sweep((id) => isThere(client, id)).catch(later);

  /** Removes the jobs of killed commands, except failed ones, which stay for inspection. */
  async function sweep(): Promise<void> {
    for (const job of await queue.getJobs(["waiting", "delayed", "completed"]))
      if (job && !(await isThere(client, job.data.run))) await job.remove().catch(() => {});
  }
  void sweep().catch(later);

  function sentTo(job: Job, area: string): SentJob {
    return { version, run, area, job };
  }

  /** Sends a job and waits for its answer. */
  async function answerTo(job: Job, { area, signal }: { area: string; signal?: AbortSignal }): Promise<Answer> {
    signal?.throwIfAborted();
    const id = `${run}-${jobs++}`;
    const answer = new Promise<Answer>((resolve, reject) => pending.set(id, { job, added: false, resolve, reject }));
    const stop = () => pending.get(id)?.reject(signal!.reason as Error);
    if (signal) setMaxListeners(0, signal); // one for each job
    signal?.addEventListener("abort", stop);
    const add = async () => {
      await queue.add(job.kind, sentTo(job, area), { ...tries, jobId: id });
      const waiting = pending.get(id);
      if (waiting) waiting.added = true;
    };
    const adding = add().catch((error: unknown) => {
      throw explainedReply(error, address.name);
    });
    try {
      // Adding a job waits for Redis; an abort must not.
      await Promise.race([adding, answer]);
      return await answer;
    } finally {
      pending.delete(id);
      signal?.removeEventListener("abort", stop);
      if (signal?.aborted) {
        leaving.add(id);
        void adding.then(() => removed(id)).catch(() => {});
      }
    }
  }

  /** Cancelled jobs that may still be in the queue. */
  const leaving = new Set<string>();
  async function removed(id: string): Promise<void> {
    const queued = await queue.getJob(id).catch(() => null);
    if (queued === null) return;
    if (queued) await queued.remove().catch(() => {}); // fails while a worker runs it
    if (!queued || !(await queue.getJob(id))) leaving.delete(id);
  }

  return {
    store,
    queue,
    async metrics() {
      const workers = `# HELP fractalgen_workers Connected workers.\n# TYPE fractalgen_workers gauge\nfractalgen_workers ${watching.workers}\n`;
      // Without Redis, the server's other metrics are still available.
      const late = sleep(lookMs / 5, undefined, { ref: false }).then(() => "");
      const all = client.status === "ready" ? await Promise.race([queue.exportPrometheusMetrics(), late]) : "";
      return `${workers}${all.endsWith("\n") || all === "" ? all : `${all}\n`}`;
    },
    get traffic() {
      const { read, written } = store.traffic;
      return { read: sent.read + read, written: sent.written + written };
    },
    get workers() {
      return watching.workers;
    },
    data: (dataset) => shipData(store, dataset, { signal }),
    area: () => `${run}/${areas++}`,
    async submit(job, options) {
      for (;;) {
        const { result, traffic, dropped } = await answerTo(job, options);
        count(traffic);
        // A restarted Redis may have lost this command's heartbeat.
        if (!dropped) return result as never;
        if (!(await isThere(client, run))) await sleep(lookMs / 5, undefined, { signal: options.signal });
      }
    },
    async close() {
      clearInterval(looking);
      watching.end();
      await whileHere(leave(), leaveMs + closeMs);
      await store.clear(run).catch(() => {});
      await closed();
      connection.close();
    },
  };

  /** Removes this command and its jobs from Redis. */
  async function leave(): Promise<void> {
    await presence.end();
    for (const id of pending.keys()) leaving.add(id);
    const until = performance.now() + leaveMs;
    while (leaving.size > 0 && performance.now() < until) {
      for (const id of leaving) await removed(id);
      if (leaving.size > 0) await sleep(250);
    }
  }
}

/** The answer to a job that was not run. */
const nothing: Answer = { dropped: true, traffic: { read: 0, written: 0 }, seconds: 0 };

/** Waits for something, or throws the signal's reason. */
function stoppable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal!.reason as Error);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal?.removeEventListener("abort", stop));
  });
}
