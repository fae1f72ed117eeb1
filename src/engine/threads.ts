/** How many threads to use by default. */

import { availableParallelism, cpus } from "node:os";
import { UserError } from "../core/errors.ts";

const variable = "FRACTALGEN_THREADS";

/** The number in FRACTALGEN_THREADS, if it is set. Throws a UserError if it is not a whole number from 1 to 1024. */
function threadsOfEnvironment(): number | undefined {
  const text = process.env[variable];
  if (!text) return undefined;
  const threads = Number(text);
  if (!/^\d+$/.test(text) || threads < 1 || threads > 1024)
    throw new UserError({ subject: variable, expected: "a whole number from 1 to 1024", got: text });
  return threads;
}

/**
 * FRACTALGEN_THREADS or, if this process may not use all cores (a container's CPU set, taskset), their number. Otherwise
 * undefined: onnxruntime then starts one thread per physical core and binds each to its core, whether it may use it or
 * not.
 */
export function engineThreads(): number | undefined {
  const allowed = availableParallelism();
  return threadsOfEnvironment() ?? (allowed < cpus().length ? allowed : undefined);
}

/** FRACTALGEN_THREADS, or one thread per available core. */
export const defaultThreads = (): number => threadsOfEnvironment() ?? availableParallelism();
