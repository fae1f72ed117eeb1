/** Fetches a model folder's two files and locates its weights. Independent of the engine that runs them. */

import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { type ExternalModel, externalModel } from "./external.ts";
import { fetchBytes, fetched, type SharedProgress, sharedProgress } from "./fetching.ts";
import { safetensorsHeader } from "./safetensors-header.ts";

const weightsName = "model.safetensors";

/** A model that was fetched into memory. */
export interface FetchedModel extends ExternalModel {
  /** The bytes of the files that hold the weights, by name. */
  files: Record<string, Uint8Array>;
}

/**
 * Fetches the model in `folder`, a URL that ends in a slash. `progress` receives the fraction of the weights received so
 * far. Throws a `UserError` if a file cannot be fetched or is not valid.
 */
export async function fetchModel(folder: string, progress: (share: number) => void): Promise<FetchedModel> {
  const config = await fetchConfig(`${folder}config.json`);
  return fetchWeights(config, { url: `${folder}${weightsName}`, progress: sharedProgress(progress) });
}

/** Fetches and parses the `config.json` at a URL. Throws a `UserError` if it cannot be fetched or is not valid. */
export async function fetchConfig(url: string): Promise<ModelConfig> {
  const what = "the model's config.json";
  const text = await (await fetched(url, what)).text();
  return parseModelConfig(parsed(text, what), "config.json");
}

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Some hosts return an HTML page for a missing file.
    throw new UserError({ problem: `${what} is not JSON`, hint: "check the address of the model's folder" });
  }
}

interface WeightsSource {
  url: string;
  progress: SharedProgress;
  /** The size of the file, if known. */
  bytes?: number;
}

/** Fetches the weights of a model whose configuration is known. Throws a `UserError` if they cannot be fetched. */
export async function fetchWeights(
  config: ModelConfig,
  { url, progress, bytes }: WeightsSource,
): Promise<FetchedModel> {
  const content = await fetchBytes(url, { what: "the model's weights", progress, bytes });
  const read = (offset: number, length: number) => content.slice(offset, offset + length);
  const weights = safetensorsHeader(weightsName, { bytes: content.length, read });
  return { ...externalModel({ config, weights }), files: { [weightsName]: content } };
}
