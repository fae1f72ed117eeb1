/** Training in replicas: on workers with --queue, else one after another in this process. */

import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { makeFolder } from "../files/disk.ts";
import { roundFile } from "../queue/round-state.ts";
import type { Distributed } from "../queue/training.ts";
import { newRunOptions } from "../runs/begin.ts";
import type { RunContext } from "../runs/train.ts";
import { openEngine } from "./engine.ts";
import { openQueue } from "./queue-options.ts";
import type { Running } from "./running.ts";
import type { TrainFlags } from "./train-flags.ts";
import type { Report } from "./train-report.ts";

/** Files of replicas that run in a single process, in the run's folder. */
const localFolder = "rounds";
/** Workers come and go within a round, which can take hours. */
const tellMs = 2000;
/** The options of the command that began the run. */
const commandName = "command.json";

/** The options as one line, without the queue and the shared folder, which may change. A URL may contain a password. */
const commandOf = (flags: TrainFlags): string =>
  `${JSON.stringify({ ...flags, queue: undefined, shared: undefined })}\n`;

const isSame = (flags: TrainFlags, out: string): boolean =>
  existsSync(join(out, commandName)) && readFileSync(join(out, commandName), "utf8") === commandOf(flags);

/** Repeating a distributed command resumes its run, because Kubernetes and Slurm restart killed commands. */
export function startedAgain(flags: TrainFlags): TrainFlags {
  const { out, resume } = flags;
  if (out === undefined || resume !== undefined || !existsSync(join(out, "last")) || !isSame(flags, out)) return flags;
  const again: TrainFlags = { ...flags, resume: out };
  for (const name of ["out", ...newRunOptions] as const) delete again[name];
  return again;
}

/** Opens the executor of the replicas. Empty if there is one replica and no queue. */
export async function openReplicas(
  flags: TrainFlags,
  prepared: Omit<Distributed, "onNote" | "onReplicas" | "signal">,
  { progress, signal, closing, report }: Running & { report: Report },
): Promise<Pick<RunContext, "elsewhere">> {
  if (prepared.training.replicas === 1 && flags.queue === undefined) return {};
  if (flags.precision === "float16")
    throw new UserError({
      subject: { setting: "precision" },
      problem: "replicas train in float32",
      hint: "omit --precision, or train without --replicas and --queue",
    });
  const { out, resumes } = prepared;
  const same = isSame(flags, out);
  if (!resumes && !same) await writeFileAtomic(join(out, commandName), commandOf(flags));
  const onNote = (line: string) => {
    progress.clear();
    console.error(line);
  };
  const { distributed } = await import("../queue/training.ts");
  const executor = (await openQueue(flags, { progress, signal })) ?? (await openLocal(flags, out));
  /** The replicas that are done, while a round runs. */
  let done: number | undefined;
  const workers = () => (flags.queue === undefined ? undefined : executor.workers);
  const tell = () => {
    if (done !== undefined && !signal.aborted) report({ kind: "replicas", done, workers: workers() });
  };
  const telling = setInterval(tell, tellMs);
  const onReplicas = (count: number) => {
    done = count < prepared.training.replicas ? count : undefined;
    tell();
  };
  closing(executor, async () => {
    clearInterval(telling);
    const { read, written } = executor.traffic;
    await executor.close();
    if (flags.queue !== undefined)
      console.error(`through the shared folder: ${byteCount(read)} read and ${byteCount(written)} written`);
    else if (!existsSync(join(out, roundFile))) await rm(join(out, localFolder), { recursive: true, force: true });
  });
  return distributed(executor, { ...prepared, resumes: resumes || same, onNote, onReplicas, signal });
}

async function openLocal(flags: TrainFlags, out: string) {
  const { localExecutor } = await import("../queue/local.ts");
  const { openStore } = await import("../queue/store.ts");
  const folder = join(out, localFolder);
  await makeFolder(folder);
  return localExecutor(await openEngine(flags), await openStore(folder, {}), flags);
}
