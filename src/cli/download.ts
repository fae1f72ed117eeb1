/** `fractalgen download`: downloads a checkpoint, or FID's network, and converts it. */

import { type Command, InvalidArgumentError } from "commander";
import { publishedNames } from "../config/published.ts";
import { defaultCache, inceptionName } from "../files/cache.ts";
import { weightsOption } from "./conversion.ts";
import { runDownload } from "./download-command.ts";
import { helpOption } from "./engine.ts";
import { filled } from "./values.ts";

export function addDownload(program: Command): void {
  program
    .command("download")
    .summary("download and convert a published model, another checkpoint, or FID's network")
    .description(
      "Download a checkpoint into the cache and convert it into a model folder. An interrupted download is resumed. The checkpoint's SHA-256 is recorded, and checked whenever the file is used again.",
    )
    .argument(
      "<source>",
      `${publishedNames.join(", ")}; ${inceptionName} (FID's network); a Hugging Face model, org/name or org/name@revision; a URL; or a file`,
      filled,
    )
    .argument(
      "[out]",
      "a new folder for the model (default: named after the source); for inception, a file (default: in the cache, where evaluate finds it)",
      filled,
    )
    .option("--config <name|file>", "the architecture, as for convert (default: known for the named models)", filled)
    .addOption(weightsOption())
    .option("--no-convert", "only download the checkpoint and print its path")
    .option(
      "--file <name>",
      "the file to download from a Hugging Face model (default: its checkpoint, if it has one)",
      filled,
    )
    .option("--sha256 <hex>", "the checkpoint's expected SHA-256, as printed by sha256sum", sha256)
    .option("--cache <dir>", "where downloads are cached", filled, defaultCache())
    .option("--offline", "make no network requests; also set by FRACTALGEN_OFFLINE=1 or HF_HUB_OFFLINE=1")
    .option("--force", "download again even if the checkpoint is cached")
    .option("--json", "print one line of JSON and no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nHF_ENDPOINT names a mirror of Hugging Face, HF_TOKEN gives access to private models. HTTPS_PROXY is used\nif Node.js supports it (24.5 and newer) and NODE_USE_ENV_PROXY=1 is set. Otherwise download the file by other means and\npass its path.\n\nExamples:\n  fractalgen download fractalmar_in64\n  fractalgen sample --model fractalmar_in64\n  fractalgen download inception\n  fractalgen download org/name models/mine --file checkpoint-last.pth --config mine.json",
    )
    .action(runDownload);
}

const sha256 = (text: string): string => {
  if (!/^[0-9a-f]{64}$/i.test(text))
    throw new InvalidArgumentError(`expected 64 hexadecimal digits, got ${JSON.stringify(text)}`);
  return text.toLowerCase();
};
