/** Ctrl-C, the signals by which others ask a process to stop, and a reader that went away, as an AbortSignal. */

import { constants } from "node:os";
import { isClosed } from "./mistakes.ts";

export interface Interruption {
  signal: AbortSignal;
  /** The exit code that says what stopped the work, as shells have it: 128 and the signal's number. */
  exitCode(): number;
  /** What to do with an error of a stop: says what is left, nothing where not told, and sets the exit code; throws any other. */
  met(error: unknown, left?: string): void;
  /** Gives the signals their usual meaning back. */
  done(): void;
}

/**
 * Ctrl-C, a supervisor, a closed terminal, and what Slurm and its launchers are told to send before the time is up. All of
 * them mean the same.
 */
export const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;

/** One press of Ctrl-C often arrives twice, from the terminal and from npm or tsx, which hand it on. */
const sameMs = 500;

/** The first press stops in order, another one at once. */
export function interruptible({ onStop = () => {} }: { onStop?: () => void } = {}): Interruption {
  const controller = new AbortController();
  let reason: NodeJS.Signals = "SIGINT";
  let first = 0;
  const stop = (why: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      if (performance.now() - first <= sameMs) return;
      // By the signal itself: an exit ends threads first, and one inside onnxruntime then aborts the process.
      process.removeAllListeners(why);
      process.kill(process.pid, why);
      return;
    }
    first = performance.now();
    reason = why;
    controller.abort();
    onStop();
  };
  const closed = (error: NodeJS.ErrnoException) => {
    if (isClosed(error) && !controller.signal.aborted) stop("SIGPIPE");
  };
  for (const name of stopSignals) process.on(name, stop);
  const orphan = onOrphaned(() => stop("SIGHUP"));
  process.stdout.on("error", closed);
  return {
    signal: controller.signal,
    exitCode: () => 128 + constants.signals[reason],
    met(error, left = "; nothing was written") {
      if (!controller.signal.aborted || !isStop(error, controller.signal)) throw error;
      console.error(`stopped${left}`);
      process.exitCode = 128 + constants.signals[reason];
    },
    done() {
      for (const name of stopSignals) process.off(name, stop);
      clearInterval(orphan);
      process.stdout.off("error", closed);
    },
  };
}

/** npm hands on SIGINT and SIGTERM only. Where anything else ends it, what it started is to stop, too. */
function onOrphaned(stop: () => void): NodeJS.Timeout | undefined {
  if (!process.env["npm_lifecycle_event"]) return undefined;
  const parent = process.ppid;
  const looking = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(looking);
    stop();
  }, 500);
  return looking.unref();
}

/** Whether an error says that the work was told to stop; a full disk at that moment is still a full disk. */
const isStop = (error: unknown, { reason }: AbortSignal): boolean =>
  error === reason || (error instanceof Error && (error.name === "AbortError" || error.cause === reason));

/** Node.js starts its debugger on SIGUSR1. A listener that came and went leaves the signal with its usual meaning: the end. */
export function endsOnUser1(): void {
  const listener = () => {};
  process.on("SIGUSR1", listener);
  process.off("SIGUSR1", listener);
}
