/** Errors of a worker thread, passed as plain data to the thread that waits for it. */

import { type Mistake, UserError } from "../core/errors.ts";

/** The message a worker sends when it fails. */
export interface Failure {
  error: string;
  stack?: string;
  /** Set for a UserError. */
  mistake?: Mistake;
}

export function failure(thrown: unknown): Failure {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  return { error: error.message, stack: error.stack, mistake: error instanceof UserError ? error.mistake : undefined };
}

/** A worker failed at its task or, if `lost`, ended. The cause is the worker's own error with its stack. */
export class ThreadError extends Error {
  override name = "ThreadError";
  readonly lost: boolean;
  /** Whether it ran out of memory. */
  readonly outOfMemory: boolean;

  constructor(cause: Error, { lost = false } = {}) {
    super(`a worker thread ${lost ? "ended" : "failed"}: ${cause.message}`, { cause });
    this.lost = lost;
    this.outOfMemory = isOutOfMemory(cause);
  }
}

/** Turns a worker's failure back into an error. */
export function thrownBy({ error, stack, mistake }: Failure): Error {
  const cause = new Error(error);
  if (stack !== undefined) cause.stack = stack;
  return mistake ? new UserError(mistake, { cause }) : new ThreadError(cause);
}

/** Recognises the messages of Node.js, V8 and onnxruntime. */
const isOutOfMemory = (error: Error): boolean =>
  ("code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY") ||
  /bad_alloc|bad allocation|allocation failed|allocate memory|out of memory/i.test(error.message);
