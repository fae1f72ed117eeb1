/** Progress on a terminal: one line that is rewritten, under a preview where colours allow; plain lines elsewhere. */

import type { WriteStream } from "node:tty";

export interface Progress {
  /** Shows the state; called as often as one likes. `preview` is asked for only when it is drawn. */
  update(line: string, preview?: () => string[]): void;
  /** Takes the progress away, so that what follows starts on a clean line. */
  clear(): void;
}

const terminalMs = 150;
const plainMs = 5000;

export function progressOn(stream: WriteStream | NodeJS.WriteStream, { quiet = false, preview = true } = {}): Progress {
  if (quiet) return { update: () => {}, clear: () => {} };
  let last = Number.NEGATIVE_INFINITY;
  if (!stream.isTTY)
    return {
      update(line) {
        const now = performance.now();
        if (now - last < plainMs) return;
        last = now;
        stream.write(`${line}\n`);
      },
      clear: () => {},
    };
  let shown = 0;
  const clear = () => {
    if (shown > 0) stream.write(`\u001b[${shown}F\u001b[J`);
    shown = 0;
  };
  const colours = preview && (stream as WriteStream).getColorDepth() >= 24;
  return {
    update(line, picture) {
      const now = performance.now();
      if (now - last < terminalMs) return;
      last = now;
      const fits = colours && picture ? picture().slice(0, Math.max(0, (stream as WriteStream).rows - 2)) : [];
      clear();
      const lines = [...fits, line.slice(0, (stream as WriteStream).columns - 1)];
      stream.write(`${lines.join("\n")}\n`);
      shown = lines.length;
    },
    clear,
  };
}

/** Seconds as people read them: "8 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A signal that Ctrl-C aborts: the first press stops in order, a second one at once. */
export function interruptible(): { signal: AbortSignal; done(): void } {
  const controller = new AbortController();
  const stop = () => {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
    controller.abort();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return {
    signal: controller.signal,
    done() {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
    },
  };
}
