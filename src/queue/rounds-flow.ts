/** A training round as a BullMQ flow. The replicas' jobs are the children; the command runs the parent, which joins them. */

import type { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { RoundOptions } from "./executor.ts";
import type { Answer, Job, JobOf, Results, SentJob } from "./jobs.ts";
import type { Traffic } from "./store.ts";
import { jobError, tries } from "./tries.ts";

interface RoundsOptions {
  base: { connection: Redis; prefix: string };
  queue: Queue<SentJob, Answer>;
  run: string;
  onTraffic: (traffic: Traffic) => void;
}

interface RoundFlow {
  run<T>(jobs: readonly JobOf<"replica">[], options: RoundOptions<T> & { sent: (job: Job) => SentJob }): Promise<T>;
  close(): Promise<void>;
}

/** The BullMQ objects that are open while rounds run. */
interface Open {
  flow: FlowProducer;
  parents: Queue;
  worker: Worker;
  events: QueueEvents;
}

/** Rounds of a command. Nothing is opened before the first one. */
export function openRounds({ base, queue, run, onTraffic }: RoundsOptions): RoundFlow {
  let opened: Promise<Open> | undefined;
  let number = 0;
  let current: { join(answers: Answer[]): Promise<void>; fail(error: Error): void; children: string[] } | undefined;

  async function open(): Promise<Open> {
    const { FlowProducer, Queue, QueueEvents, Worker } = await import("bullmq");
    const name = `${queue.name}-${run}`;
    const worker = new Worker(
      name,
      async (parent) => {
        const values = await parent.getChildrenValues<Answer>();
        await current?.join(current.children.map((id) => values[`${base.prefix}:${queue.name}:${id}`]));
      },
      base,
    );
    const events = new QueueEvents(name, base);
    const flow = new FlowProducer(base);
    const parents = new Queue(name, base);
    const quiet = () => {}; // the connection reports them
    worker.on("error", quiet);
    events.on("error", quiet);
    flow.on("error", quiet);
    parents.on("error", quiet);
    await events.waitUntilReady();
    events.on("failed", async ({ failedReason }) => current?.fail((await childError()) ?? new Error(failedReason)));
    return { flow, parents, worker, events };
  }

  /** The error of the failed child. */
  async function childError(): Promise<Error | undefined> {
    for (const id of current?.children ?? []) {
      const child = await queue.getJob(id);
      if (await child?.isFailed()) return jobError(child!.data.job, child);
    }
    return undefined;
  }

  async function removed(children: readonly string[]): Promise<void> {
    for (const id of children) await (await queue.getJob(id))?.remove().catch(() => {});
  }

  return {
    async run(jobs, { join, sent, signal }) {
      const { flow, parents } = await (opened ??= open());
      for (;;) {
        signal?.throwIfAborted();
        const round = number++;
        const children = jobs.map((_, i) => `${run}-round-${round}-${i}`);
        const done = new Promise<{ value: Awaited<ReturnType<typeof join>> } | "again">((resolve, reject) => {
          current = {
            children,
            fail: reject,
            async join(answers) {
              // A restarted Redis may have lost this command's heartbeat.
              if (answers.some((answer) => !answer || answer.dropped)) return resolve("again");
              for (const { traffic } of answers) onTraffic(traffic);
              try {
                resolve({ value: await join(answers.map(({ result }) => result as Results["replica"])) });
              } catch (error) {
                reject(error as Error);
              }
            },
          };
        });
        const stop = () => current?.fail(signal!.reason as Error);
        signal?.addEventListener("abort", stop);
        try {
          await flow.add({
            name: `round ${round}`,
            queueName: parents.name,
            opts: { removeOnComplete: true, removeOnFail: true },
            children: jobs.map((job, i) => ({
              name: job.kind,
              queueName: queue.name,
              data: sent(job),
              opts: { ...tries, jobId: children[i], failParentOnFailure: true },
            })),
          });
          const result = await done;
          await removed(children);
          if (result !== "again") return result.value;
        } catch (error) {
          if (signal?.aborted) await removed(children);
          throw error;
        } finally {
          signal?.removeEventListener("abort", stop);
        }
      }
    },
    async close() {
      const all = await opened;
      if (!all) return;
      if (base.connection.status === "ready") {
        await all.worker.close(true);
        await all.parents.obliterate({ force: true }).catch(() => {});
        await Promise.all([all.events.close(), all.flow.close(), all.parents.close()]);
      }
    },
  };
}
