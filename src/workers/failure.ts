/** What a worker thread failed with, on its way to the thread that waits for it. */

import { type Mistake, UserError } from "../core/errors.ts";

/** What a worker says when it cannot go on. */
export interface Failure {
  error: string;
  stack?: string;
  /** A mistake of the user. */
  mistake?: Mistake;
}

export function failure(thrown: unknown): Failure {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  return { error: error.message, stack: error.stack, mistake: error instanceof UserError ? error.mistake : undefined };
}

/** A thread failed at what it was given or, where it is `lost`, ended. Its own error, with the stack there, is the cause. */
export class ThreadError extends Error {
  override name = "ThreadError";
  readonly lost: boolean;
  /** It asked for more memory than there is. */
  readonly outOfMemory: boolean;

  constructor(cause: Error, { lost = false } = {}) {
    super(`a worker thread ${lost ? "ended" : "failed"}: ${cause.message}`, { cause });
    this.lost = lost;
    this.outOfMemory = isOutOfMemory(cause);
  }
}

/** The error that a worker told of. */
export function thrownBy({ error, stack, mistake }: Failure): Error {
  const cause = new Error(error);
  if (stack !== undefined) cause.stack = stack;
  return mistake ? new UserError(mistake, { cause }) : new ThreadError(cause);
}

/** In the words of Node.js, of V8 and of onnxruntime. */
const isOutOfMemory = (error: Error): boolean =>
  ("code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY") ||
  /bad_alloc|bad allocation|allocation failed|allocate memory|out of memory/i.test(error.message);
