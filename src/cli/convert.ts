/** `fractalgen convert`: a checkpoint of the published PyTorch code as a model folder, or FID's network as a file. */

import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { type Command, Option } from "commander";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { isPublished, publishedNames, publishedPreset } from "../config/published.ts";
import { configOfCase, isPublishedCase } from "../config/published-case.ts";
import { counted, parameterCount } from "../core/counted.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import { openInceptionConversion } from "../evaluate/inception-features.ts";
import { inceptionParameters } from "../evaluate/inception.ts";
import { type Conversion, type ConversionOptions, openConversion } from "../files/convert.ts";
import { readJson } from "../files/model.ts";
import { own, type Ownership } from "../files/ownership.ts";
import { type WeightKind, weightKinds } from "../files/state-dict.ts";
import { modelParameters } from "../model/parameters.ts";
import { helpOption } from "./engine.ts";
import { defaultCache, inceptionName, inceptionPath } from "../files/cache.ts";
import { checkFile, ownNew } from "./outputs.ts";
import { type Progress } from "./progress.ts";
import { withProgress } from "./running.ts";
import { checkSpace } from "./space.ts";
import { filled, oneOf } from "./values.ts";

interface ConvertFlags {
  config: string;
  optimizer: boolean;
  weights?: WeightKind;
  json?: boolean;
}

/** Which weights, of a checkpoint that holds several. */
export const weightsOption = (): Option =>
  new Option(
    "--weights <which>",
    "model, or ema: the moving average of the weights (default: model, where it is there)",
  )
    .choices(weightKinds)
    .argParser(oneOf(weightKinds));

export function addConvert(program: Command): void {
  program
    .command("convert")
    .summary("a model folder from a checkpoint of the published PyTorch code")
    .description(
      "Convert a .pth or .safetensors checkpoint into a model folder. Every tensor is checked by name, shape and type; none of the checkpoint's code is run. With AdamW's state in it the folder is a checkpoint that training can go on from. The Inception-v3 that images are measured with becomes a .safetensors file.",
    )
    .argument("<checkpoint>", "a .pth file, as torch.save writes it, or a .safetensors file", filled)
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
    .addOption(weightsOption())
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

/** What a checkpoint becomes: a model's folder, or the file of the network that images are measured with. */
export interface Goal {
  out: string;
  /** Of its weights. */
  bytes: number;
  open: (path: string, options?: ConversionOptions) => Promise<Conversion>;
  /** The claim to \`out\`, to be released in the end. */
  owned: Ownership;
}

/**
 * The goal that `--config` names, with what stands in its way found out before any work. Without `out` a model gets the
 * folder `name`, if there is one, and the network its place in the cache, where what was there before is replaced.
 */
export async function goalOf(
  config: string,
  { out, name, cache = defaultCache(), signal }: { out?: string; name?: string; cache?: string; signal?: AbortSignal },
): Promise<Goal> {
  const bytesOf = (parameters: readonly { shape: readonly number[] }[]) =>
    4 * parameters.reduce((sum, { shape }) => sum + product(shape), 0);
  if (config === inceptionName) {
    const file = out ?? inceptionPath(cache);
    checkFile(file, { option: "[out]", endings: [".safetensors"] });
    const owned =
      out === undefined ? await own(file, { signal }) : await ownNew(out, { option: "[out]", what: "file", signal });
    return { out: file, bytes: bytesOf(inceptionParameters()), open: openInceptionConversion, owned };
  }
  const model = configFrom(config);
  const folder = out ?? name;
  if (folder === undefined)
    throw new UserError(
      `[out]: expected the name of a new folder for the model, got none; only ${inceptionName} has a place of its own`,
    );
  const owned = await ownNew(folder, { option: "[out]", signal });
  const open: Goal["open"] = (path, options) => openConversion(path, model, options);
  return { out: folder, bytes: bytesOf(modelParameters(model)), open, owned };
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
