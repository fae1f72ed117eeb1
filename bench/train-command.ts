/** `fractalgen train` in a process of its own, for benchmarks of whole trainings. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../src/core/errors.ts";

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

/** Arguments of Node for a fractalgen command. */
export const commandLine = (...args: string[]): string[] => ["--import", "tsx", main, ...args];

/** Trains on the built-in emoji. Throws a UserError if the training fails. */
export async function trained(
  { out, steps, cache }: { out: string; steps: number; cache: string },
  args: readonly string[],
  onStart: (child: ChildProcess) => void,
): Promise<void> {
  const given = ["--data", "emoji", "--out", out, "--steps", String(steps), "--cache", cache, "--no-samples", "--json"];
  const child = spawn(process.execPath, commandLine("train", ...given, ...args), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onStart(child);
  child.stdout!.resume();
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new UserError(`training ended with ${code}`);
}

/** Records of one kind in a run's log. */
export const recordsOf = <T>(out: string, kind: string): T[] =>
  readFileSync(join(out, "log.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T & { kind: string })
    .filter((record) => record.kind === kind);
