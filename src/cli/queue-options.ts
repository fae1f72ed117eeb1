/** The options for running a command's work on other machines. */

import type { Command } from "commander";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { defaultCache } from "../files/cache.ts";
import type { Precision } from "../graph/form.ts";
import type { Executor } from "../queue/executor.ts";
import type { CommandOfShards } from "../queue/shards.ts";
import type { Progress } from "./progress.ts";
import { filled } from "./values.ts";
import { version } from "./version.ts";

export interface QueueFlags {
  queue?: string;
  shared?: string;
  cache?: string;
  device?: Provider;
  precision?: Precision;
  /** The arguments of the command whose shards are joined. */
  joins?: readonly string[];
}

export const queueHelp = "Redis or Valkey, such as redis://host:6379 or rediss://user:password@host:6380";
export const sharedHelp = "a folder that all machines share, for models, data and results";

export const addQueueOptions = (command: Command): Command =>
  command
    .optionsGroup("On many machines (see fractalgen worker --help):")
    .option("--queue <url>", queueHelp, filled)
    .option("--shared <dir>", sharedHelp, filled);

/** Throws a UserError if `--queue` is given without `--shared`, or with a precision that the device cannot compute in. */
export function checkQueue({ queue, shared, device = "cpu", precision }: QueueFlags): void {
  if (queue === undefined) return;
  if (shared === undefined) throw new UserError({ subject: { setting: "shared" }, expected: sharedHelp, got: "none" });
  if (precision === "float16" && device === "cpu")
    throw new UserError({
      subject: { setting: "precision" },
      problem: "only workers on GPUs compute in float16",
      hint: { do: "choose their device", setting: "device", value: "webgpu" },
    });
}

/** Opens the executor if the work runs elsewhere: a queue, or finished shards. Only `--queue` loads Redis's client. */
export async function openQueue(
  flags: QueueFlags,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<Executor | undefined> {
  checkQueue(flags);
  const { queue, shared, cache = defaultCache(), device = "cpu" } = flags;
  if (flags.joins) {
    const { openStore } = await import("../queue/store.ts");
    const { joinedExecutor } = await import("../queue/shards.ts");
    return joinedExecutor(await openStore(shared!, { cache }), commandOfShards(flags.joins));
  }
  if (queue === undefined) return undefined;
  const { queueAddress } = await import("../queue/address.ts");
  const { openLeader } = await import("../queue/leader.ts");
  const onNote = (line: string) => {
    progress.clear();
    console.error(line);
  };
  const onLonely = () => onNote(lonelyLine({ shared: shared!, device }));
  const address = queueAddress(queue);
  return openLeader({ address, version, shared: shared!, cache, device, onNote, onLonely, signal });
}

/** Options that may differ between machines, because results do not depend on them. */
const ownOptions = ["--shared", "--cache", "--threads"];

/** A command of this version, by its arguments. */
export const commandOfShards = (args: readonly string[]): CommandOfShards => ({
  args,
  depends: args.filter(
    (arg, i) => !ownOptions.some((name) => arg === name || args[i - 1] === name || arg.startsWith(`${name}=`)),
  ),
  version,
});

/** "3 workers", for a line of progress. */
export const workersOf = ({ workers }: Executor): string => counted(workers, "worker");

/** The line to print when there are no workers. */
export const lonelyLine = ({ shared, device }: { shared: string; device: Provider }): string =>
  `waiting for workers of version ${version}; start one with fractalgen worker --queue … --shared ${shared}${device === "cpu" ? "" : ` --device ${device}`}`;
