/** What a user reads when something ends a command: one sentence for a mistake, the stack for a fault of ours. */

import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommanderError } from "commander";
import { UserError } from "../core/errors.ts";
import { visibleLines } from "../core/text.ts";
import { ThreadError } from "../workers/failure.ts";
import { sentenceOf } from "./wording.ts";

/**
 * Prints what went wrong and gives the exit code: 2 for what the user can mend, 1 for what only we can. `verbose` adds where
 * it came from.
 */
export function reported(error: unknown, { help, verbose = false }: { help: string; verbose?: boolean }): 1 | 2 {
  const sentence = mistake(error, help);
  if (sentence !== undefined) {
    if (sentence && verbose) console.error(stacks(error));
    if (sentence) console.error(`error: ${sentence}`);
    return 2;
  }
  if (error instanceof ThreadError) {
    if (verbose) console.error(stacks(error));
    console.error(`error: ${threadSentence(error, verbose ? undefined : keptDetails(error))}`);
    return 1;
  }
  console.error(error instanceof Error ? (error.stack ?? error.message) : error);
  console.error(
    "error: this is a fault of fractalgen, not yours; please report it with the command and the lines above",
  );
  return 1;
}

/** A thread's failure, with what can be done about it. */
function threadSentence(error: ThreadError, details: string | undefined): string {
  const what = error.outOfMemory
    ? "a worker thread ran out of memory; take fewer --threads, a smaller batch, or less --memory"
    : `${error.message}; run the command again, and report it if it happens twice`;
  return details === undefined ? what : `${what} (details in ${details})`;
}

/** The stacks of an error and of what caused it, the error first. */
function stacks(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\nCaused by ${stacks(error.cause)}`;
}

/** Where the error, its stack and its causes are kept for whoever reports it: the next run may not fail. */
function keptDetails(error: Error): string | undefined {
  const path = join(tmpdir(), `fractalgen-failure-${process.pid}.txt`);
  try {
    writeFileSync(path, `${process.argv.join(" ")}\n${stacks(error)}\n`);
    return path;
  } catch {
    return undefined;
  }
}

/** The sentence for a mistake, "" where all is said already, undefined for a fault of ours. */
function mistake(error: unknown, help: string): string | undefined {
  if (error instanceof CommanderError) return error.code === "commander.help" ? "" : usage(error.message, help);
  if (error instanceof UserError) return sentenceOf(error);
  if (!(error instanceof Error)) return undefined;
  if (error instanceof RangeError && /allocation failed|Invalid (typed )?array length/.test(error.message))
    return "there is not enough memory for this; ask for fewer images at a time";
  // The system's own refusals (no space, too many open files, no permission) name the call and the path themselves.
  if ("syscall" in error && "code" in error) return `the system refused: ${error.message}`;
  return undefined;
}

/** Commander's two sentences or lines as one: what, what was expected, what came, what to do. */
export function usage(message: string, help: string): string {
  const text = message.replace(/^error: /, "");
  const invalid = /^option '(?:--?[\w-]+, )?(--[\w-]+)[^]*?' is invalid\. (expected [^]*)$/.exec(text);
  if (invalid) return `${invalid[1]}: ${invalid[2]}`;
  const lacking = /^option '(?:--?[\w-]+, )?(--[\w-]+) (.*)' argument missing$/.exec(text);
  if (lacking) return `${lacking[1]} needs a value, ${lacking[1]} ${lacking[2]}; see ${help}`;
  const excess = /^too many arguments for '(.*)'\. Expected (\d+).* but got (\d+)\.$/.exec(text);
  if (excess)
    return `${excess[1]} takes ${excess[2] === "0" ? "options only" : `${excess[2]} names`}, but got ${excess[3]} ${excess[3] === "1" ? "word" : "words"} beside them; see ${help}`;
  const near = /^([^]*)\n\(Did you mean (.*)\?\)$/.exec(text);
  return near ? `${near[1]}; did you mean ${near[2]}?` : `${text}; see ${help}`;
}

/**
 * Names from files are printed in notes, tables and errors: from here on the console shows control characters in them, where
 * a terminal would obey.
 */
export function showsControls(): void {
  for (const method of ["log", "error", "warn"] as const) {
    const print = console[method].bind(console);
    console[method] = (...items: unknown[]) =>
      print(...items.map((item) => (typeof item === "string" ? visibleLines(item) : item)));
  }
}

/**
 * A reader that goes away (`| head`, a closed terminal) is no fault: what is being made is still finished. Anything else
 * that keeps the output from being written is a mistake like any other.
 */
export function endsOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (isClosed(error)) return;
      process.exitCode = 2;
      if (stream === process.stdout) console.error(`error: cannot write to the standard output: ${error.message}`);
    });
}

export const isClosed = ({ code }: NodeJS.ErrnoException): boolean => code === "EPIPE" || code === "EIO";
