/** Ctrl-C, a polite kill and a reader that went away, as an AbortSignal. */

import { constants } from "node:os";
import { isClosed } from "./mistakes.ts";

export interface Interruption {
  signal: AbortSignal;
  /** The exit code that says what stopped the work, as shells have it: 128 and the signal's number. */
  exitCode(): number;
  /** What to do with an error of a stop: says what is left, nothing where not told, and sets the exit code; throws any other. */
  met(error: unknown, left?: string): void;
  /** Gives Ctrl-C its usual meaning back. */
  done(): void;
}

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
      // By the signal itself: an exit ends threads first, and one inside of onnxruntime aborts the process then.
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
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  process.stdout.on("error", closed);
  return {
    signal: controller.signal,
    exitCode: () => 128 + constants.signals[reason],
    met(error, left = "; nothing was written") {
      if (!controller.signal.aborted) throw error;
      console.error(`stopped${left}`);
      process.exitCode = 128 + constants.signals[reason];
    },
    done() {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
      process.stdout.off("error", closed);
    },
  };
}
