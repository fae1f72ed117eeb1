/** `fractalgen worker`: runs jobs for commands on other machines. */

import type { Command } from "commander";
import type { Provider } from "../engine/engine.ts";
import { defaultCache } from "../files/cache.ts";
import { deviceOption, helpOption, threadsOption } from "./engine.ts";
import { interruptible } from "./interrupt.ts";
import { queueHelp, sharedHelp } from "./queue-options.ts";
import { filled, number } from "./values.ts";
import { version } from "./version.ts";

interface WorkerFlags {
  queue: string;
  shared: string;
  cache: string;
  stalledSeconds: number;
  graceSeconds: number;
  json?: boolean;
  device: Provider;
  threads?: number;
}

export function addWorker(program: Command): void {
  program
    .command("worker")
    .summary("run jobs for other machines")
    .description(
      "Run jobs from a queue until a signal stops it: sampling, evaluation, training replicas and server requests. Start any number of workers, usually one per machine, at any time.",
    )
    .requiredOption("--queue <url>", queueHelp, filled)
    .requiredOption("--shared <dir>", sharedHelp, filled)
    .option("--cache <dir>", "where this machine caches models and data", filled, defaultCache())
    .option(
      "--stalled-seconds <n>",
      "time after which another worker takes over a killed worker's job",
      number({ least: 1, most: 3600 }),
      30,
    )
    .option(
      "--grace-seconds <n>",
      "how long to keep working on the current job after a stop signal before returning it to the queue",
      number({ least: 0 }),
      20,
    )
    .option("--json", "print a line of JSON for each job")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen worker --queue redis://host:6379 --shared /mnt/runs\n  fractalgen sample --model emoji -n 1000 --each drawn/ --queue redis://host:6379 --shared /mnt/runs",
    )
    .action(worker);
}

async function worker(flags: WorkerFlags): Promise<void> {
  const { queueAddress } = await import("../queue/address.ts");
  const { runWorker } = await import("../queue/worker.ts");
  const address = queueAddress(flags.queue);
  const stopped = interruptible({
    onStop: () =>
      console.error("stopping when the current job is finished or returned to the queue; Ctrl-C again stops at once"),
  });
  let ended = true;
  try {
    ended = await runWorker({
      ...flags,
      address,
      version,
      signal: stopped.signal,
      onNote: (line) => console.error(line),
      onReady: (name) => console.error(`worker ${name}, version ${version}, takes jobs from Redis at ${address.name}`),
      onJob({ job, seconds, error }) {
        if (flags.json) console.log(JSON.stringify({ kind: job.kind, seconds, error }));
        else if (error !== undefined) console.error(`a job failed: ${error}`);
      },
    });
  } catch (error) {
    stopped.met(error, "");
  } finally {
    stopped.done();
  }
  // The job is given back, but a thread that computes on would keep the process alive.
  if (!ended) process.kill(process.pid, stopped.exitCode() - 128);
}
