/** The work of `fractalgen serve`: serves the models until a signal stops it. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { UserError } from "../core/errors.ts";
import { defaultThreads } from "../engine/threads.ts";
import { freeMemory } from "../files/free-memory.ts";
import { hostName, isLoopback, originIn } from "../server/access.ts";
import { type FractalServer, fractalServer } from "../server/app.ts";
import { listen } from "../server/listen.ts";
import { servedModels } from "../server/models.ts";
import { interruptible } from "./interrupt.ts";
import { findModel, nameOf, shippedModels } from "./models.ts";
import { version } from "./version.ts";
import { optionWording } from "./wording.ts";

export interface ServeFlags {
  model?: string[];
  host: string;
  port: number;
  cors?: string[];
  allowHost?: string[];
  trustProxy?: boolean;
  apiKeyFile?: string;
  shareWeights?: boolean;
  batch: number;
  /** A number is a limit on waiting images, as before there were workers. */
  queue?: number | string;
  maxQueue: number;
  shared?: string;
  showQueues?: boolean;
  maxImages: number;
  threads?: number;
  memory?: number;
}

const studio = fileURLToPath(new URL("../../dist/web", import.meta.url));

export async function serve(flags: ServeFlags): Promise<void> {
  const { model: names = shippedModels(), host, port, cors, allowHost, apiKeyFile, shareWeights } = flags;
  const origins = cors?.map(originIn);
  const hosts = allowHost?.map(hostName);
  const apiKey = apiKeyFile === undefined ? undefined : keyFrom(apiKeyFile);
  const found = [];
  for (const name of names) found.push(await findModel(name));
  const models = servedModels(found.map((folder) => ({ name: nameOf(folder), folder })));
  const loopback = isLoopback(host);
  const limits = { queue: typeof flags.queue === "number" ? flags.queue : flags.maxQueue, images: flags.maxImages };
  // Behind a proxy, requests from anywhere come from localhost.
  const local = loopback && cors === undefined && allowHost === undefined && flags.trustProxy !== true;
  const workers = await openWorkers(flags, local);
  const stopped = interruptible({
    onStop: () => console.error("stopping once running jobs are finished; press Ctrl-C again to stop immediately"),
  });
  let server: FractalServer | undefined;
  try {
    server = fractalServer({
      ...workers,
      models,
      version,
      loopback,
      names: hosts,
      behindProxy: flags.trustProxy,
      wording: optionWording,
      cors: origins,
      apiKey,
      studio,
      shareWeights: shareWeights ?? local,
      // The memory that batches take is that of workers.
      threads: workers?.elsewhere?.lanes ?? flags.threads ?? defaultThreads(),
      memory: workers ? Number.POSITIVE_INFINITY : (flags.memory ?? freeMemory()),
      batch: flags.batch,
      limits,
      onFault: (error) => console.error(error instanceof Error ? (error.stack ?? error.message) : error),
    });
    const listening = await listen(server, { host, port });
    console.log(`${models.map(({ name }) => name).join(", ")} at ${listening.url}`);
    if (!loopback && apiKey === undefined)
      console.error("anyone who can reach this address can use the server; use --api-key-file to require a key");
    await new Promise<void>((resolve) => {
      if (stopped.signal.aborted) resolve();
      stopped.signal.addEventListener("abort", () => resolve());
    });
    await listening.close();
  } finally {
    await server?.dispose();
    await workers?.close();
    stopped.done();
  }
}

/** The queue, if there is one; its client is loaded only then. Everyone who sees its page can remove jobs. */
async function openWorkers({ queue, shared, showQueues }: ServeFlags, local: boolean) {
  if (typeof queue !== "string") return undefined;
  const { openServerQueue } = await import("./serve-queue.ts");
  return openServerQueue({ queue, shared, page: local || showQueues === true });
}

/** Reads the key from a file, trimmed of white space. */
function keyFrom(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const problem = code === "ENOENT" ? `the file ${path} does not exist` : `${path} cannot be read (${code})`;
    throw new UserError({ subject: "--api-key-file", problem, hint: "create a key with: openssl rand -hex 32" });
  }
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new UserError({
    subject: "--api-key-file",
    expected: `one key of letters, digits and punctuation in ${path}`,
    got: text === "" ? "an empty file" : "text with spaces, line breaks or other characters",
    hint: "create a key with: openssl rand -hex 32",
  });
}
