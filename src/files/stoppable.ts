/** Runs work that foreign bytes decide the length of, and stops it where it takes too long. Knows nothing of the work. */

import { createContext, Script } from "node:vm";

const script = new Script("work()");
const context: { work: () => unknown } = { work: () => undefined };
createContext(context);

/** Milliseconds that the process has computed since `before`: a busy machine makes work wait, which is no fault of the work. */
export const computedSince = (before: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

/**
 * The result of `work`, which must not wait for anything and may be begun again. After `ms` of computing it is stopped
 * wherever it is, and `late` is thrown.
 */
export function stoppable<T>(work: () => T, { ms, late }: { ms: number; late: () => Error }): T {
  // The clock is the wall's, so work that hardly had a turn gets another, longer one.
  for (let timeout = ms; ; timeout *= 2) {
    const before = process.cpuUsage();
    try {
      // The functions stay those of this realm: the context only lends its clock.
      context.work = work;
      return script.runInContext(context, { timeout }) as T;
    } catch (error) {
      if ((error as { code?: unknown } | null)?.code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
      if (computedSince(before) >= 0.8 * ms) throw late();
    }
  }
}
