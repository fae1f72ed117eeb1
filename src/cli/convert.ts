/** `fractalgen convert`: a checkpoint of the published PyTorch code as a model folder, or FID's network as a file. */

import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { Command } from "commander";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { isPublished, publishedNames, publishedPreset } from "../config/published.ts";
import { configOfCase, isPublishedCase } from "../config/published-case.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { openInceptionConversion } from "../evaluate/inception-features.ts";
import { inceptionParameters } from "../evaluate/inception.ts";
import { type Conversion, openConversion } from "../files/convert.ts";
import { readJson } from "../files/model.ts";
import { modelParameters } from "../model/parameters.ts";
import { helpOption } from "./engine.ts";
import { defaultCache, inceptionName, inceptionPath } from "./cache.ts";
import { interruptible } from "./interrupt.ts";
import { checkFile, checkFolder } from "./outputs.ts";
import { type Progress, progressOn } from "./progress.ts";
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
      "Convert a .pth checkpoint into a model folder. Every tensor is checked by name, shape and type; none of the checkpoint's code is run. With AdamW's state in it the folder is a checkpoint that training can go on from. The Inception-v3 that images are measured with becomes a .safetensors file.",
    )
    .argument("<checkpoint>", "a .pth file, as torch.save writes it", filled)
    .argument(
      "[out]",
      "a new folder; of inception a new file (default: in the cache, where evaluate looks for it)",
      filled,
    )
    .requiredOption(
      "--config <name|file>",
      `${publishedNames.join(", ")}; ${inceptionName}; or a file: a model's config.json or the case.json of a parity case`,
      filled,
    )
    .option("--no-optimizer", "leave the optimiser's state behind")
    .option("--json", "print one line of JSON, no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen convert checkpoint-last.pth in64 --config fractalmar_in64\n  fractalgen convert checkpoint-last.pth runs/in64/last --config fractalmar_in64\n  fractalgen train --resume runs/in64 --data imagenet/\n  fractalgen convert weights-inception-2015-12-05-6726825d.pth --config inception",
    )
    .action(convert);
}

async function convert(path: string, given: string | undefined, flags: ConvertFlags): Promise<void> {
  const { out, open } = await goalOf(flags.config, { out: given });
  const conversion = await open(path, flags);
  const progress = progressOn(process.stderr, { quiet: flags.json });
  const { signal, met, done } = interruptible();
  const { parameters, bytes, step } = conversion;
  try {
    await checkSpace(out, bytes);
    if (!flags.json)
      console.error(
        `${(parameters / 1e6).toFixed(1)}M parameters${step === undefined ? "" : ` and the optimiser's state after ${step} step${step === 1 ? "" : "s"}`}, ${byteCount(bytes)} in ${out}`,
      );
    await conversion.write(out, { signal, onProgress: onProgress(progress) });
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

/** What a checkpoint becomes: a model's folder, or the file of the network that images are measured with. */
export interface Goal {
  out: string;
  /** Of its weights. */
  bytes: number;
  open: (path: string, options?: { optimizer?: boolean }) => Promise<Conversion>;
}

/**
 * The goal that `--config` names, with what stands in its way found out before any work. Without `out` a model gets the
 * folder `name`, if there is one, and the network its place in the cache, where what was there before is replaced.
 */
export async function goalOf(
  config: string,
  { out, name, cache = defaultCache() }: { out?: string; name?: string; cache?: string },
): Promise<Goal> {
  const bytesOf = (parameters: readonly { shape: readonly number[] }[]) =>
    4 * parameters.reduce((sum, { shape }) => sum + product(shape), 0);
  const taken = (path: string, what: string) => {
    if (existsSync(path)) throw new UserError(`${path} is there already; give the name of a new ${what}`);
  };
  if (config === inceptionName) {
    const file = out ?? inceptionPath(cache);
    checkFile(file, { option: "[out]", endings: [".safetensors"] });
    if (out !== undefined) taken(out, "file");
    return { out: file, bytes: bytesOf(inceptionParameters()), open: openInceptionConversion };
  }
  const model = configFrom(config);
  const folder = out ?? name;
  if (folder === undefined)
    throw new UserError(
      `[out]: expected the name of a new folder for the model, got none; only ${inceptionName} has a place of its own`,
    );
  checkFolder(folder, { option: "[out]" });
  await recoverFolder(folder);
  taken(folder, "folder");
  const open: Goal["open"] = (path, options) => openConversion(path, model, options);
  return { out: folder, bytes: bytesOf(modelParameters(model)), open };
}

/** Says on a line how far a conversion is. */
export const onProgress =
  (progress: Progress) =>
  (done: number, total: number): void =>
    progress.update(`converting: ${Math.floor((100 * done) / total)}%, ${byteCount(done)} of ${byteCount(total)}`);

/** A configuration by the name of a published model, or from a file: ours, or a parity case's. */
export function configFrom(nameOrFile: string): ModelConfig {
  if (isPublished(nameOrFile)) return publishedPreset(nameOrFile);
  const names = [...publishedNames, inceptionName];
  if (!existsSync(nameOrFile))
    throw new UserError(
      `--config: there is no file ${nameOrFile}, and no model of this name; expected a file or ${names.join(", ")}${didYouMean(nameOrFile, names)}`,
    );
  const json = readJson(nameOrFile);
  return isPublishedCase(json) ? configOfCase(json, nameOrFile) : parseModelConfig(json, nameOrFile);
}

/** `train --resume` looks for `last` in a run's folder. */
const howToGoOn = (out: string): string =>
  basename(resolve(out)) === "last"
    ? `to go on training: fractalgen train --resume ${dirname(resolve(out))} --data … --steps …`
    : `to go on training, convert to a folder "last" in that of the run, and resume that run`;
