/** Progress on a terminal: one line that is rewritten, under a preview where colours allow; plain lines elsewhere. */

import type { WriteStream } from "node:tty";
import { visible } from "../core/text.ts";

/** Characters on the terminal. */
export interface Room {
  columns: number;
  rows: number;
}

export interface Progress {
  /** Shows the state; called as often as one likes. `preview` is asked for only when it is drawn. */
  update(line: string, preview?: (room: Room) => string[]): void;
  /** Takes the progress away, so that what follows starts on a clean line. */
  clear(): void;
}

const terminalMs = 150;
const plainMs = 5000;

type Terminal = WriteStream | NodeJS.WriteStream;

export function progressOn(stream: Terminal, { quiet = false, preview = true } = {}): Progress {
  if (quiet) return { update: () => {}, clear: () => {} };
  // A dumb terminal, as an editor's or a log's, shows cursor movements as they are.
  const moves = stream.isTTY && process.env["TERM"] !== "dumb";
  return moves ? rewritten(stream as WriteStream, preview) : lineByLine(stream);
}

/** In a file or a pipe: a line after 5 s, and then the fewer the longer it takes. */
function lineByLine(stream: Terminal): Progress {
  const started = performance.now();
  let last = started;
  return {
    update(line) {
      const now = performance.now();
      if (now - last < Math.max(plainMs, (now - started) / 20)) return;
      last = now;
      stream.write(`${visible(line)}\n`);
    },
    clear: () => {},
  };
}

function rewritten(stream: WriteStream, preview: boolean): Progress {
  const colours = preview && inTrueColour(stream);
  let last = Number.NEGATIVE_INFINITY;
  let shown = 0;
  const home = () => (shown > 0 ? `\u001b[${shown}F\u001b[J` : "");
  return {
    update(line, picture) {
      const now = performance.now();
      if (now - last < terminalMs) return;
      last = now;
      // A terminal that does not tell its size says 0.
      const room = { columns: (stream.columns || 80) - 1, rows: (stream.rows || 24) - 2 };
      const lines = [...(colours && picture ? picture(room) : []), visible(line).slice(0, room.columns)];
      stream.write(`${home()}${lines.join("\n")}\n`);
      shown = lines.length;
    },
    clear() {
      if (shown > 0) stream.write(home());
      shown = 0;
    },
  };
}

/** Node knows no colours beyond 256 inside tmux; the terminal's own word counts too, unless colours are unwanted. */
function inTrueColour(stream: WriteStream): boolean {
  const depth = stream.getColorDepth();
  return depth >= 24 || (depth > 1 && ["truecolor", "24bit"].includes(process.env["COLORTERM"] ?? ""));
}
