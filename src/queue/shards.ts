/**
 * Splits a command's work into shards, for machines that share a folder but no Redis. Each shard runs its part of the
 * command's jobs and stores the results in the shared folder; `join` runs the command again, on these results.
 */

import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../core/errors.ts";
import { describedJob, type Executor } from "./executor.ts";
import { type Job, keyOf, type Results } from "./jobs.ts";
import { localData } from "./local.ts";
import type { Store } from "./store.ts";

/** One of several shards. Its jobs are those whose number is congruent to `index` modulo `of`. */
export interface Shard {
  index: number;
  of: number;
}

const commandName = "command";
const doneName = (index: number) => `done-${index}`;

/** The area of a command's shards. */
export const shardArea = (args: readonly string[]): string =>
  `shards-${createHash("sha256").update(JSON.stringify(args)).digest("hex").slice(0, 24)}`;

/** Runs a shard's jobs on an executor of this machine, and stores their results. */
export interface ShardRunner {
  area: string;
  /** Whether the n-th job belongs to this shard. */
  mine(n: number): boolean;
  /** Runs one of the shard's jobs, unless its result is stored. Returns the result. */
  run<J extends Job>(job: J, options: { signal?: AbortSignal }): Promise<Results[J["kind"]]>;
  /** Marks the shard as complete. */
  done(): Promise<void>;
}

/** A runner for a shard of the command with these arguments. */
export async function shardRunner(
  executor: Executor,
  { index, of, args }: Shard & { args: readonly string[] },
): Promise<ShardRunner> {
  const { store } = executor;
  const area = shardArea(args);
  await store.remember(area, commandName, { args, of });
  return {
    area,
    mine: (n) => n % of === index % of,
    async run(job, { signal }) {
      const key = keyOf(job);
      const kept = await store.recall<never>(area, key);
      if (kept) return kept;
      const result = await executor.submit(job, { area, signal });
      await store.remember(area, key, result);
      return result;
    },
    done: () => store.remember(area, doneName(index % of), {}),
  };
}

/** A command whose shards are all complete. */
export interface ShardedCommand {
  area: string;
  args: string[];
}

/** The commands whose shards are in a shared folder. Throws a UserError if there are none, or if shards are missing. */
export async function shardedCommands(store: Store): Promise<ShardedCommand[]> {
  const names = await readdir(join(store.folder, "areas")).catch(() => []);
  const commands: ShardedCommand[] = [];
  for (const area of names.filter((name) => name.startsWith("shards-")).toSorted()) {
    const found = await store.recall<{ args: string[]; of: number }>(area, commandName);
    if (!found) continue;
    const { args, of } = found;
    const missing: number[] = [];
    for (let index = 0; index < of; index++)
      if (!(await store.recall(area, doneName(index)))) missing.push(index === 0 ? of : index);
    if (missing.length > 0)
      throw new UserError({
        problem: `of ${of} shards of "${args.join(" ")}", these are missing: ${missing.sort((a, b) => a - b).join(", ")}`,
        hint: { do: "run the missing shards", setting: "shard", value: `${missing[0]}/${of}` },
      });
    commands.push({ area, args });
  }
  if (commands.length === 0)
    throw new UserError({
      subject: { setting: "shared" },
      expected: "a folder with the shards of a command",
      got: `${store.folder}, which has none`,
      hint: { do: "run the shards of a command first", setting: "shard", value: "1/4" },
    });
  return commands;
}

/** An executor that returns the stored results of shards, and computes nothing. */
export function joinedExecutor(given: Store, args: readonly string[]): Executor {
  const area = shardArea(args);
  // Results are in the shards' area, whatever area a job was sent to.
  const store: Store = { ...given, get: (_, hash) => given.get(area, hash), clear: async () => {} };
  let areas = 0;
  return {
    store,
    traffic: { read: 0, written: 0 },
    workers: 0,
    area: () => `${area}/join-${areas++}`,
    data: async (dataset) => localData(dataset),
    async submit(job) {
      const result = await given.recall<never>(area, keyOf(job));
      if (result) return result;
      throw new UserError({
        problem: `the shards contain no result for ${describedJob(job)}`,
        hint: "run join in the shards' working directory, with the same models and data, or run the shards again",
      });
    },
    round: async () => {
      throw new Error("training has no shards");
    },
    close: async () => {},
  };
}
