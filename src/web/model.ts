/** Fetches a model's two files and says where its weights are. Knows nothing of what runs them. */

import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { type ExternalModel, externalModel } from "../files/external.ts";
import { safetensorsHeader } from "../files/safetensors-header.ts";
import { fetchBytes, fetched, type Progress } from "./fetching.ts";

const weightsName = "model.safetensors";

export interface FetchedModel extends ExternalModel {
  /** The bytes of the weights' file, by its name. */
  files: Record<string, Uint8Array>;
}

/** `config` was fetched before; `bytes` is the size of the weights where that is known. */
export async function fetchModel(
  { config, weights: url, bytes }: { config: ModelConfig; weights: string; bytes?: number },
  progress: Progress,
): Promise<FetchedModel> {
  const content = await fetchBytes(url, { what: "the model's weights", progress, bytes });
  const read = (offset: number, length: number) => content.slice(offset, offset + length);
  const weights = safetensorsHeader(weightsName, { bytes: content.length, read });
  return { ...externalModel({ folder: "", config, weights }), files: { [weightsName]: content } };
}

export const fetchConfig = async (url: string): Promise<ModelConfig> =>
  parseModelConfig(await (await fetched(url, "the model's config.json")).json(), "config.json");
