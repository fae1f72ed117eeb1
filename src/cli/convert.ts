/** `fractalgen convert`: a checkpoint of the published PyTorch code as a model folder. */

import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { Command } from "commander";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { isPublished, publishedNames, publishedPreset } from "../config/published.ts";
import { configOfCase, isPublishedCase } from "../config/published-case.ts";
import { byteCount } from "../core/byte-count.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { openConversion } from "../files/convert.ts";
import { readJson } from "../files/model.ts";
import { helpOption } from "./engine.ts";
import { interruptible } from "./interrupt.ts";
import { checkFolder } from "./outputs.ts";
import { progressOn } from "./progress.ts";
import { checkSpace } from "./space.ts";
import { filled } from "./values.ts";

interface ConvertFlags {
  config: string;
  optimizer: boolean;
  json?: boolean;
}

export function addConvert(program: Command): void {
  program
    .command("convert")
    .summary("a model folder from a checkpoint of the published PyTorch code")
    .description(
      "Convert a .pth checkpoint into a model folder. Every tensor is checked by name, shape and type; none of the checkpoint's code is run. With AdamW's state in it the folder is a checkpoint that training can go on from.",
    )
    .argument("<checkpoint>", "a .pth file, as torch.save writes it", filled)
    .argument("<out>", "a new folder", filled)
    .requiredOption(
      "--config <name|file>",
      `${publishedNames.join(", ")}; or a file: a model's config.json or the case.json of a parity case`,
      filled,
    )
    .option("--no-optimizer", "leave the optimiser's state behind")
    .option("--json", "print one line of JSON, no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen convert checkpoint-last.pth in64 --config fractalmar_in64\n  fractalgen convert checkpoint-last.pth runs/in64/last --config fractalmar_in64\n  fractalgen train --resume runs/in64 --data imagenet/",
    )
    .action(convert);
}

async function convert(path: string, out: string, flags: ConvertFlags): Promise<void> {
  const config = configFrom(flags.config);
  checkFolder(out, { option: "<out>" });
  await recoverFolder(out);
  if (existsSync(out)) throw new UserError(`${out} is there already; give the name of a new folder`);
  const conversion = await openConversion(path, config, flags);
  const progress = progressOn(process.stderr, { quiet: flags.json });
  const { signal, met, done } = interruptible();
  const { parameters, bytes, step } = conversion;
  try {
    await checkSpace(out, bytes);
    if (!flags.json)
      console.error(
        `${(parameters / 1e6).toFixed(1)}M parameters${step === undefined ? "" : ` and the optimiser's state after ${step} step${step === 1 ? "" : "s"}`}, ${byteCount(bytes)} in ${out}`,
      );
    await conversion.write(out, {
      signal,
      onProgress: (at, total) =>
        progress.update(`converting: ${Math.floor((100 * at) / total)}%, ${byteCount(at)} of ${byteCount(total)}`),
    });
  } catch (error) {
    progress.clear();
    return met(error);
  } finally {
    done();
    await conversion.close();
  }
  progress.clear();
  if (flags.json) console.log(JSON.stringify({ out, parameters, bytes, step }));
  else {
    if (step !== undefined) console.error(howToGoOn(out));
    console.log(out);
  }
}

/** A configuration by the name of a published model, or from a file: ours, or a parity case's. */
export function configFrom(nameOrFile: string): ModelConfig {
  if (isPublished(nameOrFile)) return publishedPreset(nameOrFile);
  if (!existsSync(nameOrFile))
    throw new UserError(
      `--config: there is no file ${nameOrFile}, and no model of this name; expected a file or ${publishedNames.join(", ")}${didYouMean(nameOrFile, publishedNames)}`,
    );
  const json = readJson(nameOrFile);
  return isPublishedCase(json) ? configOfCase(json, nameOrFile) : parseModelConfig(json, nameOrFile);
}

/** `train --resume` looks for `last` in a run's folder. */
const howToGoOn = (out: string): string =>
  basename(resolve(out)) === "last"
    ? `to go on training: fractalgen train --resume ${dirname(resolve(out))} --data … --steps …`
    : `to go on training, convert to a folder "last" in that of the run, and resume that run`;
