/** `fractalgen join`: combines the shards of a command. */

import type { Command } from "commander";
import { helpOption } from "./engine.ts";
import { sharedHelp } from "./queue-options.ts";
import { filled } from "./values.ts";
import { version } from "./version.ts";
import { sentenceOf } from "./wording.ts";

/** Adds the command. `run` runs another one. */
export function addJoin(program: Command, run: (args: string[]) => Promise<number>): void {
  program
    .command("join")
    .summary("combine shards")
    .description(
      "Combine the shards of a command (--shard of sample and evaluate). Runs the original command on the shards' results; its output is the same as on one machine. Run it in the shards' working directory.",
    )
    .requiredOption("--shared <dir>", sharedHelp, filled)
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen sample --model emoji -n 1000 --each drawn/ --shared /mnt/runs --shard 1/4\n  fractalgen join --shared /mnt/runs",
    )
    .action((flags: { shared: string }) => joinShards(flags, run));
}

async function joinShards({ shared }: { shared: string }, run: (args: string[]) => Promise<number>): Promise<void> {
  const { openStore } = await import("../queue/store.ts");
  const { shardedCommands } = await import("../queue/shards.ts");
  const store = await openStore(shared, {});
  const { complete, incomplete } = await shardedCommands(store, version);
  let failed = 0;
  for (const { area, args } of complete) {
    console.error(`joining: fractalgen ${args.join(" ")}`);
    // The shards may have seen the folder at another path; the last of two equal options counts.
    const code = await run([...args, "--shared", shared, "--joined"]);
    if (process.exitCode) return; // a signal stopped it
    if (code === 0) await store.clear(area);
    else failed ||= code;
  }
  if (failed) process.exitCode = failed;
  const [first, ...others] = incomplete;
  for (const error of others) console.error(`error: ${sentenceOf(error)}`);
  if (first) throw first;
}
