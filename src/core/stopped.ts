/** Tells an error that a stop caused from any other. */

/** Whether an error was caused by the signal itself. A full disk at that moment is still a full disk. */
export const isStop = (error: unknown, signal: AbortSignal | undefined): boolean =>
  signal?.aborted === true &&
  (error === signal.reason ||
    (error instanceof Error && (error.name === "AbortError" || error.cause === signal.reason)));
