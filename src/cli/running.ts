/** Runs a command's long work: progress, stopping on a signal, and clean-up afterwards. */

import { type Interruption, interruptible } from "./interrupt.ts";
import { type Progress, progressOn } from "./progress.ts";

export interface Running extends Pick<Interruption, "signal" | "exitCode"> {
  progress: Progress;
  /** Calls `end` when the work is over, whatever the outcome, in reverse order of opening. Returns `value`. */
  closing<T>(value: T, end: (value: T) => Promise<void> | void): T;
}

interface RunningOptions {
  /** No progress. */
  quiet?: boolean;
  preview?: boolean;
  /** What a stopped command leaves behind, as the end of a sentence (default: nothing was written). */
  left?: string | (() => string);
  onStop?: () => void;
}

/** Does the work with progress on the terminal. Returns undefined, after printing a message, if a signal stopped it; rethrows other errors. */
export async function withProgress<T>(
  { quiet, preview, left, onStop }: RunningOptions,
  work: (running: Running) => Promise<T>,
): Promise<T | undefined> {
  const progress = progressOn(process.stderr, { quiet, preview });
  const { signal, exitCode, met, done } = interruptible({
    onStop() {
      progress.clear();
      onStop?.();
    },
  });
  const ends: (() => Promise<void> | void)[] = [];
  const closing: Running["closing"] = (value, end) => {
    ends.unshift(() => end(value));
    return value;
  };
  try {
    return await work({ progress, signal, exitCode, closing });
  } catch (error) {
    progress.clear();
    met(error, typeof left === "function" ? left() : left);
    return undefined;
  } finally {
    for (const end of ends) await end();
    done();
    progress.clear();
  }
}
