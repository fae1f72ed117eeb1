/** `--shard i/n`: a part of a command's work, without Redis, for Slurm arrays and indexed Kubernetes jobs. */

import { type Command, InvalidArgumentError, Option } from "commander";
import { counted } from "../core/counted.ts";
import { duration } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { defaultCache } from "../files/cache.ts";
import type { Precision } from "../graph/form.ts";
import type { Executor } from "../queue/executor.ts";
import type { Job } from "../queue/jobs.ts";
import type { Shard, ShardRunner } from "../queue/shards.ts";
import { commandOfShards, sharedHelp } from "./queue-options.ts";
import type { Running } from "./running.ts";

export interface ShardFlags {
  shard?: Shard;
  /** Set by `join`: use the results of shards. */
  joined?: boolean;
  queue?: string;
  shared?: string;
  cache?: string;
  device: Provider;
  precision?: Precision;
  threads?: number;
}

/** "3/8". Shards may be numbered from 0 or from 1: shard n is shard 0. */
export function shardOf(text: string): Shard {
  const [, index, of] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const shard = { index: Number(index), of: Number(of) };
  if (shard.of >= 1 && shard.index <= shard.of) return shard;
  throw new InvalidArgumentError(`expected i/n with i from 0 to n-1 or from 1 to n, such as 1/4, got "${text}"`);
}

export const addShardOptions = (command: Command): Command =>
  command
    .addOption(
      new Option(
        "--shard <i/n>",
        "do part i of n without Redis and store the result in --shared for fractalgen join; i starts at 0 or 1",
      ).argParser(shardOf),
    )
    .addOption(new Option("--joined").hideHelp());

/** The arguments of a command, without `--shard` and `--joined`. */
export function commandArgs(command: Command): string[] {
  let root = command;
  while (root.parent) root = root.parent;
  const { rawArgs = [] } = root as Command & { rawArgs?: string[] };
  return rawArgs.filter(
    (arg, i) => arg !== "--joined" && arg !== "--shard" && rawArgs[i - 1] !== "--shard" && !arg.startsWith("--shard="),
  );
}

/** The context of a shard's work. */
export interface Work {
  shard: ShardRunner;
  executor: Executor;
  /** Runs the jobs that belong to this shard, with progress. */
  all(jobs: readonly Job[]): Promise<void>;
}

/** Does a shard's work on this machine, and prints the next step. */
export async function runShard(
  flags: ShardFlags,
  args: readonly string[],
  { progress, signal, closing }: Pick<Running, "progress" | "signal" | "closing">,
  work: (work: Work) => Promise<void>,
): Promise<void> {
  const { shard: which, shared, cache = defaultCache(), queue } = flags;
  if (queue !== undefined)
    throw new UserError({ subject: { setting: "shard" }, problem: "shards need no Redis", hint: "leave --queue out" });
  if (shared === undefined) throw new UserError({ subject: { setting: "shared" }, expected: sharedHelp, got: "none" });
  const { localExecutor } = await import("../queue/local.ts");
  const { openStore } = await import("../queue/store.ts");
  const { shardRunner } = await import("../queue/shards.ts");
  const store = await openStore(shared, { cache });
  const engine = await nodeEngine({ ...flags, provider: flags.device });
  // Another device would compute other bytes.
  if (engine.fallback) throw new UserError({ subject: { setting: "device" }, problem: engine.fallback });
  const executor = closing(localExecutor(engine, store, flags), (one) => one.close());
  const shard = await shardRunner(executor, { ...which!, ...commandOfShards(args) });
  const all = async (jobs: readonly Job[]) => {
    const own = jobs.filter((_, n) => shard.mine(n));
    const started = performance.now();
    for (const [done, job] of own.entries()) {
      await shard.run(job, { signal });
      const left = ((performance.now() - started) / 1000 / (done + 1)) * (own.length - done - 1);
      progress.update(`${done + 1} of ${counted(own.length, "job")}  ${duration(left)} left`);
    }
  };
  await work({ shard, executor, all });
  await shard.done();
  progress.clear();
  const { index, of } = which!;
  console.error(`shard ${index}/${of} is done; when all shards are done, run fractalgen join --shared ${shared}`);
}
