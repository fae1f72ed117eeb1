/** `fractalgen join`: puts the shards of a command together. */

import type { Command } from "commander";
import { helpOption } from "./engine.ts";
import { sharedHelp } from "./queue-options.ts";
import { filled } from "./values.ts";

/** Adds the command. `run` runs another one. */
export function addJoin(program: Command, run: (args: string[]) => Promise<number>): void {
  program
    .command("join")
    .summary("put shards together")
    .description(
      "Put together what the shards of a command (--shard of sample and evaluate) computed: runs the command with their results, so its files and numbers are those of one machine. Run it in the folder in which the shards ran.",
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
  for (const { area, args } of await shardedCommands(store)) {
    console.error(`joining: fractalgen ${args.join(" ")}`);
    const code = await run([...args, "--joined"]);
    if (code !== 0 || process.exitCode) {
      process.exitCode ||= code;
      return;
    }
    await store.clear(area);
  }
}
