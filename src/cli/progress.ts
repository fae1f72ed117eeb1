/** Progress on a terminal: one line that is rewritten, below a preview if the terminal supports colours; plain lines elsewhere. */

import type { WriteStream } from "node:tty";
import { visible } from "../core/text.ts";

/** Available space on the terminal, in characters. */
export interface TerminalSpace {
  columns: number;
  rows: number;
}

export interface Progress {
  /** Shows the state. May be called at any rate; `preview` is called only when it is drawn. */
  update(line: string, preview?: (room: TerminalSpace) => string[]): void;
  /** Removes the progress display, so that later output starts on a clean line. */
  clear(): void;
}

const terminalMs = 150;
const plainMs = 5000;

type Terminal = WriteStream | NodeJS.WriteStream;

export function progressOn(stream: Terminal, { quiet = false, preview = true } = {}): Progress {
  if (quiet) return { update: () => {}, clear: () => {} };
  // A dumb terminal, such as an editor's, prints cursor movements literally.
  const moves = stream.isTTY && process.env["TERM"] !== "dumb";
  return moves ? rewritten(stream as WriteStream, preview) : lineByLine(stream);
}

/** In a file or a pipe: a line after 5 s, then less and less often. */
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
      // A terminal that does not report its size reports 0.
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

/** Inside tmux, Node.js detects at most 256 colours, so COLORTERM counts too, unless colours are disabled. */
function inTrueColour(stream: WriteStream): boolean {
  const depth = stream.getColorDepth();
  return depth >= 24 || (depth > 1 && ["truecolor", "24bit"].includes(process.env["COLORTERM"] ?? ""));
}
