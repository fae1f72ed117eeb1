/** Runs work that foreign bytes decide the length of, and stops it where it takes too long. Knows nothing of the work. */

import { createContext, Script } from "node:vm";

const script = new Script("work()");
const context: { work: () => unknown } = { work: () => undefined };
createContext(context);

/** The result of `work`, which must not wait for anything; after `ms` it is stopped wherever it is, and `late` is thrown. */
export function stoppable<T>(work: () => T, { ms, late }: { ms: number; late: () => Error }): T {
  try {
    // The functions stay those of this realm: the context only lends its clock.
    context.work = work;
    return script.runInContext(context, { timeout: ms }) as T;
  } catch (error) {
    throw (error as { code?: unknown } | null)?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT" ? late() : error;
  }
}
