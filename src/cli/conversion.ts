/** Shared by the commands that convert: the output, the choice of weights, and progress. */

import { existsSync } from "node:fs";
import { Option } from "commander";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { isPublished, publishedNames, publishedPreset } from "../config/published.ts";
import { configOfCase, isPublishedCase } from "../config/published-case.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import { openInceptionConversion } from "../evaluate/inception-features.ts";
import { inceptionParameters } from "../evaluate/inception.ts";
import { defaultCache, inceptionName, inceptionPath } from "../files/cache.ts";
import { type Conversion, type ConversionOptions, openConversion } from "../files/convert.ts";
import { readJson } from "../files/model.ts";
import { own, type Ownership } from "../files/ownership.ts";
import { weightKinds } from "../files/state-dict.ts";
import { modelParameters } from "../model/parameters.ts";
import { checkFile, ownNew } from "./outputs.ts";
import type { Progress } from "./progress.ts";
import { checkSpace } from "./space.ts";
import { oneOf } from "./values.ts";

/** Chooses the weights of a checkpoint that holds several sets. */
export const weightsOption = (): Option =>
  new Option("--weights <which>", "model, or ema for the moving average of the weights (default: model, if present)")
    .choices(weightKinds)
    .argParser(oneOf(weightKinds));

/** The output of a conversion: a model folder, or the file of FID's network. */
export interface Goal {
  out: string;
  /** Size of the weights. */
  bytes: number;
  open: (path: string, options?: ConversionOptions) => Promise<Conversion>;
  /** The lock on `out`; the caller releases it. */
  owned: Ownership;
}

/**
 * The goal that `--config` names, checked up front. Without `out`, a model goes into the folder `name`, if given, and FID's
 * network into its place in the cache, replacing any earlier file.
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
      `[out]: expected the name of a new folder for the model, got none; only ${inceptionName} has a default location`,
    );
  const owned = await ownNew(folder, { option: "[out]", signal });
  const open: Goal["open"] = (path, options) => openConversion(path, model, options);
  return { out: folder, bytes: bytesOf(modelParameters(model)), open, owned };
}

/** The goal of a conversion, checked for free disk space before hours go into a download. */
export async function roomFor(config: string | undefined, place: Parameters<typeof goalOf>[1]): Promise<Goal> {
  if (config === undefined)
    throw new UserError(
      `--config: expected the model's architecture, ${publishedNames.join(", ")} or a file. To download without converting, use --no-convert`,
    );
  const goal = await goalOf(config, place);
  try {
    await checkSpace(goal.out, goal.bytes);
  } catch (error) {
    await goal.owned.release();
    throw error;
  }
  return goal;
}

/** Reports the progress of a conversion. */
export const onProgress =
  (progress: Progress) =>
  (done: number, total: number): void =>
    progress.update(`converting: ${Math.floor((100 * done) / total)}%, ${byteCount(done)} of ${byteCount(total)}`);

/** Reads a configuration by the name of a published model, or from a file: a config.json or a parity case. */
export function configFrom(nameOrFile: string): ModelConfig {
  if (isPublished(nameOrFile)) return publishedPreset(nameOrFile);
  const names = [...publishedNames, inceptionName];
  if (!existsSync(nameOrFile))
    throw new UserError(
      `--config: no file or published model is named ${nameOrFile}; expected a file or ${names.join(", ")}${didYouMean(nameOrFile, names)}`,
    );
  const json = readJson(nameOrFile);
  return isPublishedCase(json) ? configOfCase(json, nameOrFile) : parseModelConfig(json, nameOrFile);
}
