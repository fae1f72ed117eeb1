/** A command's side of the queue: sends jobs, waits for their results, and cleans up. */

import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Provider } from "../engine/engine.ts";
import type { Queue } from "bullmq";
import type { QueueAddress } from "./address.ts";
import { openConnection, type QueueConnection } from "./connection.ts";
import type { Executor } from "./executor.ts";
import type { Answer, Job, Results, SentJob } from "./jobs.ts";
import { keyPrefix, queueName } from "./names.ts";
import { shipData } from "./objects.ts";
import { announce, isThere, ownPresence } from "./presence.ts";
import { explainedReply } from "./replies.ts";
import { openFlows, sweepFlows } from "./rounds-flow.ts";
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

interface Sending<T> {
  add(): Promise<unknown>;
  outcome(answers: Promise<Answer>[]): Promise<T>;
  signal?: AbortSignal;
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
    await whileHere(presence.end(), closeMs); // its heartbeat would keep the process alive
    await closed();
    throw error;
  }
  const pending = new Map<string, Pending>();
  const sent: Traffic = { read: 0, written: 0 };
  const watching = watchWorkers(client, { version, device, onNote, onLonely, busy: () => pending.size > 0 });
  const rounds = openFlows(run, { base, queue: queue.name });
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
  /** Settles jobs whose events were lost, and resends jobs and rounds that Redis lost. */
  const look = async () => {
    await rounds.look();
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

  /** Removes the jobs and rounds of killed commands, except failed jobs, which stay for inspection. */
  async function sweep(): Promise<void> {
    for (const job of await queue.getJobs(["waiting", "delayed", "completed"]))
      if (job && !(await isThere(client, job.data.run))) await job.remove().catch(() => {});
    await sweepFlows({ base, queue: queue.name });
  }
  void sweep().catch(later);

  function sentTo(job: Job, area: string): SentJob {
    return { version, run, area, job };
  }

  const newId = () => `${run}-${jobs++}`;

  /** Sends jobs, by ID, and waits for the outcome of their answers. */
  async function outcomeOf<T>(sending: ReadonlyMap<string, Job>, { add, outcome, signal }: Sending<T>): Promise<T> {
    signal?.throwIfAborted();
    if (signal) setMaxListeners(0, signal); // one for each job
    const answers = [...sending].map(
      ([id, job]) => new Promise<Answer>((resolve, reject) => pending.set(id, { job, added: false, resolve, reject })),
    );
    const adding = (async () => {
      await add();
      for (const id of sending.keys()) if (pending.has(id)) pending.get(id)!.added = true;
    })();
    const done = outcome(answers);
    try {
      // Adding jobs waits for Redis; an abort must not.
      return await stoppable(Promise.race([adding.then(() => done), done]), signal);
    } catch (error) {
      throw explainedReply(error, address.name);
    } finally {
      leave(sending.keys(), adding);
    }
  }

  /** Cancelled jobs that may still be in the queue. */
  const leaving = new Set<string>();
  /** Removes those jobs that are still pending, as soon as they are added. */
  function leave(ids: Iterable<string>, adding?: Promise<void>): void {
    for (const id of ids) {
      if (!pending.delete(id)) continue;
      leaving.add(id);
      void Promise.resolve(adding)
        .then(() => removed(id))
        .catch(later);
    }
  }
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
        const id = newId();
        const { result, traffic, dropped } = await outcomeOf(new Map([[id, job]]), {
          add: () => queue.add(job.kind, sentTo(job, options.area), { ...tries, jobId: id }),
          outcome: ([answer]) => answer,
          signal: options.signal,
        });
        count(traffic);
        // A restarted Redis may have lost this command's heartbeat.
        if (!dropped) return result as never;
        if (!(await isThere(client, run))) await sleep(lookMs / 5, undefined, { signal: options.signal });
      }
    },
    async round(list, { area, signal, join, onDone }) {
      for (;;) {
        const ids = new Map(list.map((job) => [newId(), job]));
        const sending = new Map([...ids].map(([id, job]) => [id, sentTo(job, area)]));
        const round = rounds.round(sending, (answers) => {
          leave(ids.keys());
          for (const { traffic } of answers) count(traffic);
          return join(answers.map(({ result }) => result as Results["replica"]));
        });
        let done = 0;
        onDone?.(done);
        const outcome: typeof round.outcome = (answers) => {
          for (const answer of answers) answer.then(({ dropped }) => dropped || onDone?.(++done)).catch(() => {});
          return round.outcome(answers);
        };
        const joined = await outcomeOf(ids, { add: round.add, outcome, signal });
        if (joined !== "lost") return joined.value;
        await sleep(lookMs / 5, undefined, { signal });
      }
    },
    async close() {
      clearInterval(looking);
      watching.end();
      await whileHere(end(), leaveMs + closeMs);
      await store.clear(run).catch(() => {});
      await closed();
      connection.close();
    },
  };

  /** Removes this command and its jobs from Redis. */
  async function end(): Promise<void> {
    const stopped = rounds.stop().catch(later);
    await presence.end();
    for (const id of pending.keys()) leaving.add(id);
    const until = performance.now() + leaveMs;
    while (leaving.size > 0 && performance.now() < until) {
      for (const id of leaving) await removed(id);
      if (leaving.size > 0) await sleep(250);
    }
    await stopped;
    await rounds.close().catch(later);
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
