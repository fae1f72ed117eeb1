/** Turns Ctrl-C, other stop signals, and a closed standard output into an AbortSignal. */

import { constants } from "node:os";
import { isStop } from "../core/stopped.ts";
import { isClosed } from "./mistakes.ts";

export interface Interruption {
  signal: AbortSignal;
  /** The exit code for the signal that stopped the work, by shell convention: 128 plus the signal's number. */
  exitCode(): number;
  /** Handles an error caused by a stop: prints `left` and sets the exit code. Rethrows any other error. */
  met(error: unknown, left?: string): void;
  /** Restores the default signal handling. */
  done(): void;
}

/**
 * Sent by Ctrl-C, supervisors, closed terminals, and by Slurm and its launchers shortly before the time limit. All are
 * treated alike.
 */
export const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;

/** One press of Ctrl-C often arrives twice: from the terminal, and forwarded by npm or tsx. */
const sameMs = 500;

/** The first signal stops the work cleanly; a second one stops it immediately. */
export function interruptible({ onStop = () => {} }: { onStop?: () => void } = {}): Interruption {
  const controller = new AbortController();
  let reason: NodeJS.Signals = "SIGINT";
  let first = 0;
  const stop = (why: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      if (performance.now() - first <= sameMs) return;
      // Re-raise the signal: exit() would end the threads first, and a thread inside onnxruntime would then abort the process.
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
      if (!isStop(error, controller.signal)) throw error;
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

/** npm forwards only SIGINT and SIGTERM. If anything else ends npm, the process that it started must stop too. */
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

/** Node.js starts its debugger on SIGUSR1. Adding and removing a listener restores the signal's default action, termination. */
export function endsOnUser1(): void {
  const listener = () => {};
  process.on("SIGUSR1", listener);
  process.off("SIGUSR1", listener);
}
