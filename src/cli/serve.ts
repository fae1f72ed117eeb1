/** `fractalgen serve`: the studio and the HTTP API, until Ctrl-C. */

import type { Command } from "commander";
import { defaultLimits } from "../server/schemas.ts";
import { helpOption, threadsOption } from "./engine.ts";
import { serve } from "./serve-command.ts";
import { bytes, filled, whole } from "./values.ts";

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
