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
const countName = (of: number) => `shards-${of}`;
const doneName = (index: number, of: number) => `done-${index}-of-${of}`;

/** A command as its shards and `join` know it. Other versions may compute other results. */
export interface CommandOfShards {
  args: readonly string[];
  /** Those of the arguments that results depend on. The others may differ between machines. */
  depends: readonly string[];
  version: string;
}

/** The area of a command's shards. */
export function shardArea({ depends, version }: CommandOfShards): string {
  const hash = createHash("sha256").update(JSON.stringify([version, ...depends]));
  return `shards-${hash.digest("hex").slice(0, 24)}`;
}

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
  { index, of, ...command }: Shard & CommandOfShards,
): Promise<ShardRunner> {
  const { store } = executor;
  const area = shardArea(command);
  await store.remember(area, commandName, command);
  await store.remember(area, countName(of), {});
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
    done: () => store.remember(area, doneName(index % of, of), {}),
  };
}

/** The commands whose shards are in a shared folder. */
export interface ShardedCommands {
  /** Those whose shards are all complete. */
  complete: { area: string; args: readonly string[] }[];
  /** Why the others cannot be joined. */
  incomplete: UserError[];
}

/** Finds the commands whose shards are in a shared folder. Throws a UserError if there are none. */
export async function shardedCommands(store: Store, version: string): Promise<ShardedCommands> {
  const folder = join(store.folder, "areas");
  const names = await readdir(folder).catch(() => []);
  const found: ShardedCommands = { complete: [], incomplete: [] };
  for (const area of names.filter((name) => name.startsWith("shards-")).toSorted()) {
    const command = await store.recall<CommandOfShards>(area, commandName);
    if (!command) continue;
    const { args, version: other } = command;
    if (other !== version) {
      const problem = `the shards of "${args.join(" ")}" are of version ${other}, and this is version ${version}`;
      found.incomplete.push(new UserError({ problem, hint: `join them with version ${other}, or run them again` }));
      continue;
    }
    const missing = missingShards(await readdir(join(folder, area)));
    if (missing.shards.length === 0) found.complete.push({ area, args });
    else found.incomplete.push(incomplete(args, missing));
  }
  if (found.complete.length + found.incomplete.length > 0) return found;
  throw new UserError({
    subject: { setting: "shared" },
    expected: "a folder with the shards of a command",
    got: `${store.folder}, which has none`,
    hint: { do: "run the shards of a command first", setting: "shard", value: "1/4" },
  });
}

interface Missing {
  of: number;
  shards: number[];
}

/** The missing shards of a division of the command. Of several divisions, the one that lacks least. */
function missingShards(names: readonly string[]): Missing {
  const divisions = names.flatMap((name) => /^shards-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  const all = divisions.map((of): Missing => {
    const shards = Array.from({ length: of }, (_, i) => i + 1); // shard n is shard 0
    return { of, shards: shards.filter((shard) => !names.includes(doneName(shard % of, of))) };
  });
  return all.toSorted((a, b) => a.shards.length - b.shards.length)[0];
}

const incomplete = (args: readonly string[], { of, shards }: Missing): UserError =>
  new UserError({
    problem: `of ${of} shards of "${args.join(" ")}", these are missing: ${shards.join(", ")}`,
    hint: { do: "run the missing shards", setting: "shard", value: `${shards[0]}/${of}` },
  });

/** An executor that returns the stored results of shards, and computes nothing. */
export function joinedExecutor(given: Store, command: CommandOfShards): Executor {
  const area = shardArea(command);
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
