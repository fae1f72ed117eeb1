/** What a user reads when a command fails: one sentence for a user error, the stack trace for an internal failure. */

import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommanderError } from "commander";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { visibleLines } from "../core/text.ts";
import { ThreadError } from "../workers/failure.ts";
import { sentenceOf } from "./wording.ts";

/**
 * Prints what went wrong and returns the exit code: 2 for errors that the user can fix, 1 for internal failures. `verbose`
 * adds the stack trace.
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
  console.error("error: this is a bug in fractalgen; please report it with the command and the lines above");
  return 1;
}

/** A thread's failure, and what to do about it. */
function threadSentence(error: ThreadError, details: string | undefined): string {
  const what = error.outOfMemory
    ? "a worker thread ran out of memory; use fewer --threads, a smaller batch or a lower --memory limit"
    : `${error.message}; run the command again, and report the failure if it recurs`;
  return details === undefined ? what : `${what} (details in ${details})`;
}

/** The stack traces of an error and its causes, the error first. */
function stacks(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\nCaused by ${stacks(error.cause)}`;
}

/** Saves the error, its stack and its causes to a file for a bug report, because the next run may not fail. Returns the path. */
function keptDetails(error: Error): string | undefined {
  const path = join(tmpdir(), `fractalgen-failure-${process.pid}.txt`);
  try {
    writeFileSync(path, withoutPasswords(`${process.argv.join(" ")}\n${stacks(error)}\n`));
    return path;
  } catch {
    return undefined;
  }
}

/** Text in which URLs have no user and password. */
export const withoutPasswords = (text: string): string => text.replaceAll(/\b(?!file:)(\w+:\/\/)\S*@/g, "$1…@");

/** The sentence for a user error, "" if it has already been printed, undefined for an internal failure. */
function mistake(error: unknown, help: string): string | undefined {
  if (error instanceof CommanderError) return error.code === "commander.help" ? "" : usage(error.message, help);
  if (error instanceof UserError) return sentenceOf(error);
  if (!(error instanceof Error)) return undefined;
  if (error instanceof RangeError && /allocation failed|Invalid (typed )?array length/.test(error.message))
    return "out of memory; process fewer images at a time";
  // System errors (no space, too many open files, no permission) already name the call and the path.
  if ("syscall" in error && "code" in error) return `the operating system reported an error: ${error.message}`;
  return undefined;
}

/** Turns commander's message into one sentence: what, what was expected, what it got, what to do. */
export function usage(message: string, help: string): string {
  const text = message.replace(/^error: /, "");
  const invalid = /^option '(?:--?[\w-]+, )?(--[\w-]+)[^]*?' is invalid\. (expected [^]*)$/.exec(text);
  if (invalid) return `${invalid[1]}: ${invalid[2]}`;
  const lacking = /^option '(?:--?[\w-]+, )?(--[\w-]+) (.*)' argument missing$/.exec(text);
  if (lacking) return `${lacking[1]} needs a value, ${lacking[1]} ${lacking[2]}; see ${help}`;
  const excess = /^too many arguments for '(.*)'\. Expected (\d+).* but got (\d+)\.$/.exec(text);
  if (excess)
    return `${excess[1]} takes ${excess[2] === "0" ? "no arguments" : `at most ${counted(Number(excess[2]), "argument")}`}, but got ${excess[3]}; see ${help}`;
  const near = /^([^]*)\n\(Did you mean (.*)\?\)$/.exec(text);
  return near ? `${near[1]}; did you mean ${near[2]}?` : `${text}; see ${help}`;
}

/**
 * Makes the console print control characters visibly. Names from files appear in notes, tables and errors, and a terminal
 * would otherwise execute the control sequences in them.
 */
export function showsControls(): void {
  for (const method of ["log", "error", "warn"] as const) {
    const print = console[method].bind(console);
    console[method] = (...items: unknown[]) =>
      print(...items.map((item) => (typeof item === "string" ? visibleLines(item) : item)));
  }
}

/**
 * A reader that goes away (`| head`, a closed terminal) is not an error: the work in progress is still finished. Any other
 * failure to write the output is reported like any user error.
 */
export function endsOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (isClosed(error)) return;
      process.exitCode = 2;
      if (stream === process.stdout) console.error(`error: cannot write to standard output: ${error.message}`);
    });
}

export const isClosed = ({ code }: NodeJS.ErrnoException): boolean => code === "EPIPE" || code === "EIO";
