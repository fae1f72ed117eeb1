/** `fractalgen download`: fetches a checkpoint, or the network that images are measured with, and has it converted. */

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
    .summary("fetch one of the paper's models, another checkpoint, or FID's network, and convert it")
    .description(
      "Download a checkpoint into the cache, going on where an earlier call was broken off, and convert it into a model folder. Its SHA-256 is recorded, and checked whenever it is used again.",
    )
    .argument(
      "<source>",
      `${publishedNames.join(", ")}; ${inceptionName}, which images are measured with; a Hugging Face model, org/name or org/name@revision; an address; or a file`,
      filled,
    )
    .argument(
      "[out]",
      "a new folder for the model (default: named after the source); of inception a file (default: in the cache, where evaluate looks for it)",
      filled,
    )
    .option("--config <name|file>", "the architecture, as for convert; what has a name has its own", filled)
    .addOption(weightsOption())
    .option("--no-convert", "leave the checkpoint as it is, and print where it is")
    .option("--file <name>", "which file of a Hugging Face model (default: its checkpoint, where there is one)", filled)
    .option("--sha256 <hex>", "what the checkpoint has to have, as sha256sum prints it", sha256)
    .option("--cache <dir>", "where downloads are kept", filled, defaultCache())
    .option("--offline", "ask no server; also by FRACTALGEN_OFFLINE=1 or HF_HUB_OFFLINE=1")
    .option("--force", "download again even where the checkpoint is in the cache")
    .option("--json", "print one line of JSON, no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nHF_ENDPOINT names a mirror of Hugging Face, HF_TOKEN gives access to private models. HTTPS_PROXY is heeded where\nNode.js supports it (24.5 and newer) and NODE_USE_ENV_PROXY=1 is set; elsewhere download by other means and give the\nfile.\n\nExamples:\n  fractalgen download fractalmar_in64\n  fractalgen sample --model fractalmar_in64\n  fractalgen download inception\n  fractalgen download org/name models/mine --file checkpoint-last.pth --config mine.json",
    )
    .action(runDownload);
}

const sha256 = (text: string): string => {
  if (!/^[0-9a-f]{64}$/i.test(text))
    throw new InvalidArgumentError(`expected 64 hexadecimal digits, got ${JSON.stringify(text)}`);
  return text.toLowerCase();
};
