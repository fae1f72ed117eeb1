/** `fractalgen join`: combines the shards of a command. */

import type { Command } from "commander";
import { helpOption } from "./engine.ts";
import { sharedHelp } from "./queue-options.ts";
import { filled } from "./values.ts";

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
