/** `fractalgen serve`: the studio and the HTTP API, until Ctrl-C. */

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { freeMemory } from "../files/free-memory.ts";
import { fractalServer } from "../server/app.ts";
import { UserError } from "../core/errors.ts";
import { hostName, isLoopback, originIn } from "../server/access.ts";
import { listen } from "../server/listen.ts";
import { servedModels } from "../server/models.ts";
import { defaultLimits } from "../server/schemas.ts";
import { nameOf } from "./drawing.ts";
import { helpOption, threadsOption } from "./engine.ts";
import { interruptible } from "./interrupt.ts";
import { findModel } from "./models.ts";
import { bytes, filled, whole } from "./values.ts";
import { version } from "./version.ts";

interface ServeFlags {
  model?: string[];
  host: string;
  port: number;
  cors?: string[];
  allowHost?: string[];
  trustProxy?: boolean;
  apiKeyFile?: string;
  shareWeights?: boolean;
  batch: number;
  queue: number;
  maxImages: number;
  threads?: number;
  memory?: number;
}

const studio = fileURLToPath(new URL("../../dist/web", import.meta.url));

const several = (text: string, before: string[] = []): string[] => [...before, filled(text)];

export function addServe(program: Command): void {
  program
    .command("serve")
    .summary("the studio and an HTTP API")
    .description(
      "Serve the studio and an HTTP API that OpenAI's image clients can talk to; /openapi.json describes it. Ctrl-C lets running jobs finish.",
    )
    .optionsGroup("What is served:")
    .option(
      "--model <dir|name>",
      "a model folder, or one that ships; may be given several times (default: emoji)",
      several,
    )
    .optionsGroup("To whom:")
    .option("--host <address>", "where to listen; by default this machine alone can ask", filled, "127.0.0.1")
    .option("--port <n>", "0: any that is free", whole({ least: 0, most: 65535 }), 7860)
    .option(
      "--cors <origin>",
      "let pages of another origin ask, such as https://example.org, or * for all; may be given several times",
      several,
    )
    .option(
      "--allow-host <name>",
      "answer to this name too, such as a proxy's images.example.org; may be given several times",
      several,
    )
    .option("--trust-proxy", "believe X-Forwarded-Host, where nobody but a proxy that sets it can reach the server")
    .option(
      "--api-key-file <path>",
      "only answer those who send the key in this file, as a bearer token or, in a browser, as a password",
      filled,
    )
    .option(
      "--share-weights",
      "let the studio run the models in others' browsers too, which gives these the weights; this machine's own always may",
    )
    .optionsGroup("How much:")
    .option("--batch <n>", "most images side by side in a thread", whole({ least: 1, most: 4096 }), 16)
    .option(
      "--queue <n>",
      "most images that wait; more get 429",
      whole({ least: 1, most: 100_000 }),
      defaultLimits.queue,
    )
    .option("--max-images <n>", "most images of a request", whole({ least: 1, most: 10_000 }), defaultLimits.images)
    .option("--memory <size>", "most memory to take, such as 3GB (default: what is free)", bytes)
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen serve\n  fractalgen serve --model emoji --model runs/photos --port 8080\n  curl -s localhost:7860/v1/images/generations -H 'Content-Type: application/json' -d '{\"prompt\": \"heart\"}'",
    )
    .action(serve);
}

async function serve({
  model: names = ["emoji"],
  host,
  port,
  cors,
  allowHost,
  apiKeyFile,
  shareWeights,
  ...flags
}: ServeFlags): Promise<void> {
  const origins = cors?.map(originIn);
  const hosts = allowHost?.map(hostName);
  const apiKey = apiKeyFile === undefined ? undefined : keyFrom(apiKeyFile);
  const found = [];
  for (const name of names) found.push(await findModel(name));
  const models = servedModels(found.map((folder) => ({ name: nameOf(folder), folder })));
  const loopback = isLoopback(host);
  const server = fractalServer({
    models,
    version,
    loopback,
    names: hosts,
    behindProxy: flags.trustProxy,
    cors: origins,
    apiKey,
    studio,
    shareWeights: shareWeights ?? (loopback && cors === undefined && allowHost === undefined),
    threads: flags.threads ?? availableParallelism(),
    memory: flags.memory ?? freeMemory(),
    batch: flags.batch,
    limits: { queue: flags.queue, images: flags.maxImages },
    onFault: (error) => console.error(error instanceof Error ? (error.stack ?? error.message) : error),
  });
  const stopped = interruptible({
    onStop: () => console.error("stopping when running jobs are finished; Ctrl-C again: at once"),
  });
  try {
    const listening = await listen(server, { host, port });
    console.log(`${models.map(({ name }) => name).join(", ")} at ${listening.url}`);
    if (!loopback && apiKey === undefined)
      console.error("anyone who reaches this address can use it; --api-key-file asks for a key");
    await new Promise<void>((resolve) => {
      if (stopped.signal.aborted) resolve();
      stopped.signal.addEventListener("abort", () => resolve());
    });
    await listening.close();
  } finally {
    await server.dispose();
    stopped.done();
  }
}

/** The key in a file: its text without white space around it. */
function keyFrom(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const problem = code === "ENOENT" ? `there is no file ${path}` : `${path} cannot be read (${code})`;
    throw new UserError({ subject: "--api-key-file", problem, hint: "make one with: openssl rand -hex 32" });
  }
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new UserError({
    subject: "--api-key-file",
    expected: `one key of letters, digits and signs in ${path}`,
    got: text === "" ? "an empty file" : "a text with spaces, lines or other characters",
    hint: "make one with: openssl rand -hex 32",
  });
}
