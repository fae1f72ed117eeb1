/**
 * Runs work whose duration depends on untrusted input, and stops it if it takes too long. Knows nothing of the work.
 */

import { createContext, Script } from "node:vm";

const script = new Script("work()");
const context: { work: () => unknown } = { work: () => undefined };
createContext(context);

/**
 * Processor time of this process since `before`, in milliseconds. Unlike elapsed time, it does not grow while a busy
 * machine makes the work wait.
 */
export const computedSince = (before: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

/**
 * Runs `work`, which must be synchronous and safe to restart, and returns its result. After `ms` of processor time it
 * is stopped and the error made by `late` is thrown.
 */
export function stoppable<T>(work: () => T, { ms, late }: { ms: number; late: () => Error }): T {
  // The timeout is wall-clock time, so work that got little processor time is restarted with a longer timeout.
  for (let timeout = ms; ; timeout *= 2) {
    const before = process.cpuUsage();
    try {
      // `work` still runs in this realm; the context only provides the timeout.
      context.work = work;
      return script.runInContext(context, { timeout }) as T;
    } catch (error) {
      if ((error as { code?: unknown } | null)?.code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
      if (computedSince(before) >= 0.8 * ms) throw late();
    }
  }
}
