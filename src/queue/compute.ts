/** A thread that runs jobs, so that a worker can renew its lock on a job while onnxruntime computes. */

import { setTimeout as sleep } from "node:timers/promises";
import { startThread, type Thread } from "../workers/thread.ts";
import type { ComputeAnswer, ComputeMessage, ComputeStart } from "./compute-protocol.ts";
import type { Job, Result } from "./jobs.ts";
import type { Traffic } from "./store.ts";

/** Runs one job at a time. */
export interface Compute {
  /** Throws on abort, and rethrows the job's error. */
  run(job: Job, options: { area: string; signal: AbortSignal }): Promise<{ result: Result; traffic: Traffic }>;
  /** Ends the thread. Returns whether it has ended within so long. */
  close(ms: number): Promise<boolean>;
}

type ComputeThread = Thread<ComputeMessage, ComputeAnswer>;

/** Starts the thread, and replaces it if it is lost. Throws a UserError if the device is not available. */
export async function openCompute(start: ComputeStart): Promise<Compute> {
  const opened = async (): Promise<ComputeThread> => {
    const thread: ComputeThread = startThread(new URL("./compute-lane", import.meta.url), start);
    await thread.next();
    return thread;
  };
  let thread = await opened();
  return {
    async run(job, { area, signal }) {
      signal.throwIfAborted();
      if (thread.isOver()) thread = await opened();
      const stop = () => thread.send({ kind: "stop" });
      signal.addEventListener("abort", stop);
      try {
        thread.send({ kind: "run", job, area });
        const answer = await thread.next();
        if (answer.kind !== "done") throw new Error("the compute thread sent an unexpected answer");
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
    async close(ms) {
      thread.send({ kind: "close" });
      const ended = thread.ended().then(() => true);
      return Promise.race([ended, sleep(ms, false, { ref: false })]);
    },
  };
}
