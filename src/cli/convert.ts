/** `fractalgen convert`: turns a checkpoint of the published PyTorch code into a model folder, or FID's network into a file. */

import { basename, dirname, resolve } from "node:path";
import type { Command } from "commander";
import { publishedNames } from "../config/published.ts";
import { byteCount } from "../core/byte-count.ts";
import { counted, parameterCount } from "../core/counted.ts";
import { inceptionName } from "../files/cache.ts";
import type { WeightKind } from "../files/state-dict.ts";
import { goalOf, onProgress, weightsOption } from "./conversion.ts";
import { helpOption } from "./engine.ts";
import { withProgress } from "./running.ts";
import { checkSpace } from "./space.ts";
import { filled } from "./values.ts";

interface ConvertFlags {
  config: string;
  optimizer: boolean;
  weights?: WeightKind;
  json?: boolean;
}

export function addConvert(program: Command): void {
  program
    .command("convert")
    .summary("convert a checkpoint of the published PyTorch code")
    .description(
      "Convert a .pth or .safetensors checkpoint into a model folder. The name, shape and type of every tensor are checked, and no code from the checkpoint is run. If the checkpoint includes AdamW's state, training can resume from the folder. FID's Inception-v3 is converted into a .safetensors file.",
    )
    .argument(
      "<checkpoint>",
      "a .pth file written by torch.save, a .safetensors file, or the index (.index.json) of several files",
      filled,
    )
    .argument(
      "[out]",
      "a new folder; for inception, a new file (default: in the cache, where evaluate finds it)",
      filled,
    )
    .requiredOption(
      "--config <name|file>",
      `${publishedNames.join(", ")}; ${inceptionName}; or a file: a model's config.json or the case.json of a parity case`,
      filled,
    )
    .addOption(weightsOption())
    .option("--no-optimizer", "leave out the optimiser's state")
    .option("--json", "print one line of JSON and no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen convert checkpoint-last.pth in64 --config fractalmar_in64\n  fractalgen convert checkpoint-last.pth runs/in64/last --config fractalmar_in64\n  fractalgen train --resume runs/in64 --data imagenet/\n  fractalgen convert weights-inception-2015-12-05-6726825d.pth --config inception",
    )
    .action(convert);
}

async function convert(path: string, given: string | undefined, flags: ConvertFlags): Promise<void> {
  const { json } = flags;
  const done = await withProgress({ quiet: json }, async ({ progress, signal, closing }) => {
    const { out, open, owned } = await goalOf(flags.config, { out: given, signal });
    closing(owned, ({ release }) => release());
    const conversion = closing(await open(path, flags), ({ close }) => close());
    const { parameters, bytes, step, notes } = conversion;
    await checkSpace(out, bytes);
    if (!json)
      console.error(
        `${parameterCount(parameters)}${step === undefined ? "" : ` and the optimiser's state after ${counted(step, "step")}`}, ${byteCount(bytes)} in ${out}`,
      );
    if (!json) for (const note of notes) console.error(`note: ${note}`);
    await conversion.write(out, { signal, onProgress: onProgress(progress), owned });
    return { out, parameters, bytes, step, notes: notes.length > 0 ? notes : undefined };
  });
  if (!done) return;
  if (json) console.log(JSON.stringify(done));
  else {
    if (done.step !== undefined) console.error(howToGoOn(done.out));
    console.log(done.out);
  }
}

/** `train --resume` looks for `last` in a run's folder. */
const howToGoOn = (out: string): string =>
  basename(resolve(out)) === "last"
    ? `to resume training: fractalgen train --resume ${dirname(resolve(out))} --data … --steps …`
    : `to resume training, convert into a folder named "last" inside a run's folder, then resume that run`;
