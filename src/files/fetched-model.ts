/** Fetches a model folder's two files into memory. Knows nothing of what runs them. */

import { joined } from "../core/arrays.ts";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { type ExternalModel, externalModel } from "./external.ts";
import { safetensorsHeader } from "./safetensors-header.ts";

const weightsName = "model.safetensors";

/** A model folder in memory. */
export interface FetchedModel extends ExternalModel {
  /** The bytes of the weight files, by name. */
  files: Record<string, Uint8Array>;
}

/** `folder` is an address that ends in a slash; `progress` is called with the fraction of the weights received. */
export async function fetchModel(folder: string, progress: (share: number) => void): Promise<FetchedModel> {
  const config = await fetchConfig(`${folder}config.json`);
  const response = await found(`${folder}${weightsName}`);
  const bytes = await bytesOf(response, progress);
  const read = (offset: number, length: number) => bytes.slice(offset, offset + length);
  const weights = safetensorsHeader(weightsName, { bytes: bytes.length, read });
  return { ...externalModel({ folder: "", config, weights }), files: { [weightsName]: bytes } };
}

/**
 * Fetches a model's configuration from the address of its `config.json`. Throws a `UserError` if it cannot be fetched
 * or is invalid.
 */
export const fetchConfig = async (url: string): Promise<ModelConfig> =>
  parseModelConfig(await (await found(url)).json(), "config.json");

async function found(url: string): Promise<Response> {
  const name = url.slice(url.lastIndexOf("/") + 1);
  const response = await fetch(url).catch(() => undefined);
  if (!response)
    throw new UserError(`the model's ${name} could not be fetched; check the connection and reload the page`);
  if (!response.ok)
    throw new UserError(
      `the model's ${name} could not be fetched: the server answered ${response.status}; reload the page`,
    );
  return response;
}

async function bytesOf(response: Response, progress: (share: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const total = Number(response.headers.get("content-length")); // for a compressed response, less than the decoded length
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body!.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    parts.push(next.value);
    length += next.value.length;
    if (total > 0) progress(Math.min(1, length / total));
  }
  return joined(parts);
}
