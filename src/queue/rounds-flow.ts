/** Training rounds as BullMQ flows. The replicas' jobs are the children; the command runs the parent, which joins their answers. */

import type { FlowProducer, Queue, QueueOptions, Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { Answer, SentJob } from "./jobs.ts";
import { isThere } from "./presence.ts";
import { isReply } from "./replies.ts";
import { tries } from "./tries.ts";

interface FlowOptions {
  base: QueueOptions & { connection: Redis; prefix: string };
  /** The name of the queue of the children. */
  queue: string;
}

/** A round that is not yet in Redis. */
interface Round<T> {
  add(): Promise<void>;
  /** The joined value. "lost" if a child was not run, or Redis lost the parent. */
  outcome(answers: readonly Promise<Answer>[]): Promise<{ value: T } | "lost">;
}

interface Flows {
  /** A round of jobs by ID. `join` runs in the parent, at most once, with the answers in order. */
  round<T>(jobs: ReadonlyMap<string, SentJob>, join: (answers: Answer[]) => Promise<T>): Round<T>;
  /** Checks whether the current round's parent is still in Redis. */
  look(): Promise<void>;
  /** Joins no more rounds. */
  stop(): Promise<void>;
  /** Removes the parents. A child that ends later brings its parent back, so children have to be gone before. */
  close(): Promise<void>;
}

/** The BullMQ objects that are open while rounds run. */
interface Open {
  flow: FlowProducer;
  parents: Queue;
  worker: Worker;
}

/** The round whose parent waits in Redis. */
interface Current {
  id: string;
  added: boolean;
  join(values: Record<string, Answer>): Promise<void>;
  lost(): void;
  fail(error: Error): void;
}

/** The queue of a command's parents. */
const parentsOf = (queue: string, run: string) => `${queue}-${run}`;

/** Rounds of a command. Nothing is opened before the first one. */
export function openFlows(run: string, { base, queue }: FlowOptions): Flows {
  let opened: Promise<Open> | undefined;
  let rounds = 0;
  let current: Current | undefined;

  async function open(): Promise<Open> {
    const { FlowProducer, Queue, Worker } = await import("bullmq");
    const name = parentsOf(queue, run);
    const join = async (parent: { id?: string; getChildrenValues(): Promise<Record<string, Answer>> }) => {
      const values = await parent.getChildrenValues();
      const round = current;
      if (round === undefined || round.id !== parent.id) return; // that round has ended
      current = undefined;
      await round.join(values);
    };
    const worker = new Worker(name, join, base);
    worker.on("error", (error) => isReply(error) && current?.fail(error));
    const [flow, parents] = [new FlowProducer(base), new Queue(name, base)];
    flow.on("error", () => {}); // the connection reports them
    parents.on("error", () => {});
    return { flow, parents, worker };
  }

  return {
    round<T>(jobs: ReadonlyMap<string, SentJob>, join: (answers: Answer[]) => Promise<T>): Round<T> {
      const keys = [...jobs.keys()].map((id) => `${base.prefix}:${queue}:${id}`);
      const round = { id: `round-${rounds++}`, added: false } as Current;
      const joined = new Promise<{ value: T } | "lost">((resolve, reject) => {
        round.join = async (values) => {
          const answers = keys.map((key) => values[key]);
          // A restarted Redis may have lost this command's heartbeat, so that a worker dropped its job.
          if (answers.some((answer) => !answer || answer.dropped)) return resolve("lost");
          await join(answers).then((value) => resolve({ value }), reject);
        };
        round.lost = () => {
          if (current !== round) return; // it is being joined
          current = undefined;
          resolve("lost");
        };
        round.fail = reject;
      });
      joined.catch(() => {}); // it can fail after the command was stopped
      return {
        async add() {
          const { flow, parents } = await (opened ??= open());
          current = round;
          const parent = { jobId: round.id, removeOnComplete: true, removeOnFail: true };
          const children = [...jobs].map(([jobId, data]) => {
            return { name: data.job.kind, queueName: queue, data, opts: { ...tries, jobId } };
          });
          try {
            await flow.add({ name: "round", queueName: parents.name, opts: parent, children });
          } catch (error) {
            const { isNotConnectionError } = await import("bullmq");
            // Unlike a single job, a flow is not sent again after a reconnect. `look` will find it lost.
            if (isNotConnectionError(error as Error)) throw error;
          }
          round.added = true;
        },
        async outcome(answers) {
          const done = answers.map(async (answer) => {
            if ((await answer).dropped) round.lost();
            return joined;
          });
          return Promise.race([joined, ...done]);
        },
      };
    },
    async look() {
      const round = current;
      if (!opened || !round?.added) return;
      const { parents } = await opened;
      if (!(await parents.getJob(round.id))) round.lost();
    },
    async stop() {
      current = undefined;
      await (await opened)?.worker.close();
    },
    async close() {
      const all = await opened;
      if (!all) return;
      await obliterated(all.parents);
      await all.flow.close();
    },
  };
}

/** Removes the parents of killed commands. */
export async function sweepFlows({ base, queue }: FlowOptions): Promise<void> {
  const { Queue } = await import("bullmq");
  const start = `${base.prefix}:${parentsOf(queue, "run-")}`;
  const runs = new Set<string>();
  for await (const keys of base.connection.scanStream({ match: `${start}*`, count: 1000 }))
    for (const key of keys as string[]) runs.add(`run-${key.slice(start.length).split(":")[0]}`);
  for (const run of runs)
    if (!(await isThere(base.connection, run))) {
      const parents = new Queue(parentsOf(queue, run), { ...base, skipMetasUpdate: true });
      parents.on("error", () => {}); // the connection reports them
      await obliterated(parents);
    }
}

/** Removes a queue of parents. BullMQ leaves those that wait for their children. */
async function obliterated(parents: Queue): Promise<void> {
  for (const parent of await parents.getJobs(["waiting-children"])) await parent.remove({ removeChildren: false });
  await parents.obliterate({ force: true });
  await parents.close();
}
