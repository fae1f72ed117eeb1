/** `fractalgen serve`: serves the studio and the HTTP API until Ctrl-C. */

import type { Command } from "commander";
import { defaultLimits } from "../server/schemas.ts";
import { helpOption, threadsOption } from "./engine.ts";
import { queueHelp, sharedHelp } from "./queue-options.ts";
import { serve } from "./serve-command.ts";
import { bytes, several, whole, filled } from "./values.ts";

const waiting = whole({ least: 1, most: 100_000 });
const numberOrUrl = (text: string): number | string => (/^[-+\d.]/.test(text) ? waiting(text) : filled(text));

export function addServe(program: Command): void {
  program
    .command("serve")
    .summary("serve the studio and an HTTP API")
    .description(
      "Serve the studio and an HTTP API that is compatible with OpenAI image clients and described by /openapi.json. By default it listens on localhost, without authentication, and accepts browser requests only from its own origin. Ctrl-C lets running jobs finish.",
    )
    .optionsGroup("Models:")
    .option(
      "--model <dir|name>",
      "a model folder, or a bundled model; may be repeated (default: all bundled models)",
      several,
    )
    .optionsGroup("Access:")
    .option(
      "--host <address>",
      "address to listen on; the default accepts only connections from this machine",
      filled,
      "127.0.0.1",
    )
    .option("--port <n>", "port to listen on; 0 picks a free one", whole({ least: 0, most: 65535 }), 7860)
    .option(
      "--cors <origin>",
      "accept browser requests from another origin, such as https://example.org, or * for all; may be repeated",
      several,
    )
    .option(
      "--allow-host <name>",
      "also accept this Host name, such as a proxy's images.example.org; may be repeated",
      several,
    )
    .option(
      "--trust-proxy",
      "trust X-Forwarded-Host; use only if clients can reach the server only through a proxy that sets it",
    )
    .option(
      "--api-key-file <path>",
      "require the key in this file, sent as a bearer token or, in a browser, as a password",
      filled,
    )
    .option(
      "--share-weights",
      "let the studio run models in remote browsers, which sends them the weights; local browsers may always do so",
    )
    .optionsGroup("Limits:")
    .option("--batch <n>", "maximum images per batch in each thread", whole({ least: 1, most: 4096 }), 16)
    .option("--max-queue <n>", "maximum images in the queue; further requests get 429", waiting, defaultLimits.queue)
    .option("--max-images <n>", "maximum images per request", whole({ least: 1, most: 10_000 }), defaultLimits.images)
    .option("--memory <size>", "memory limit, such as 3GB (default: all free memory)", bytes)
    .addOption(threadsOption())
    .optionsGroup("On many machines (see fractalgen worker --help):")
    .option("--queue <url>", `${queueHelp}, whose workers generate the images; a number is --max-queue`, numberOrUrl)
    .option("--shared <dir>", sharedHelp, filled)
    .option(
      "--show-queues",
      "offer the page on the queue, /queues, to remote browsers too; without it, only a server on localhost without --cors, --allow-host and --trust-proxy does",
    )
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen serve\n  fractalgen serve --model emoji --model runs/photos --port 8080\n  curl -s localhost:7860/v1/images/generations -H 'Content-Type: application/json' -d '{\"prompt\": \"heart\"}'",
    )
    .action(serve);
}
