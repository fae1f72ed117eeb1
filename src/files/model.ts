/** Model folders: `config.json` and `model.safetensors`, everything checked before anything runs. */

import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { modelParameters } from "../model/parameters.ts";
import { storedTensors } from "../model/quantize.ts";
import { writeFileAtomic } from "./atomic.ts";
import { readSafetensorsHeader, type SafetensorsFile, writeSafetensors } from "./safetensors.ts";

export const configName = "config.json";
export const weightsName = "model.safetensors";

/** A model folder whose files were checked against each other. */
export interface ModelFolder {
  folder: string;
  config: ModelConfig;
  weights: SafetensorsFile;
}

/** Reads a model folder, or the `last` checkpoint in a folder of training; the weights stay in their file. */
export function readModelFolder(path: string): ModelFolder {
  const folder =
    !existsSync(join(path, configName)) && existsSync(join(path, "last", configName)) ? join(path, "last") : path;
  if (!existsSync(folder))
    throw new UserError(`there is no model folder ${path}; give one with ${configName} and ${weightsName}`);
  if (!statSync(folder).isDirectory())
    throw new UserError(`${path} is a file, expected a model folder with ${configName} and ${weightsName}`);
  if (!existsSync(join(folder, configName)))
    throw new UserError(
      `${path} is no model folder: it has no ${configName}; expected one with ${configName} and ${weightsName}`,
    );
  const config = readConfigFile(join(folder, configName));
  const weights = readSafetensorsHeader(join(folder, weightsName));
  const problems = storedTensors(config).flatMap(({ name, shape, dtype }) => {
    const found = weights.tensors.get(name);
    if (!found) return [`${name} is missing`];
    if (found.dtype !== dtype) return [`${name} is ${found.dtype}, expected ${dtype}`];
    return String(found.shape) === String(shape)
      ? []
      : [`${name} is [${found.shape.join(", ")}], expected [${shape.join(", ")}]`];
  });
  if (problems.length > 0)
    throw new UserError(
      `${weights.path} does not fit its ${configName}: ${problems.slice(0, 5).join("; ")}${problems.length > 5 ? `; and ${problems.length - 5} more` : ""}`,
    );
  return { folder, config, weights };
}

/** A model's configuration from a JSON file. */
export function readConfigFile(path: string): ModelConfig {
  return parseModelConfig(readJson(path), path);
}

export function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") throw new UserError(`${path}: there is no such file; check the path`);
    if (code === "EISDIR") throw new UserError(`${path}: this is a folder, expected a file of JSON`);
    if (code === "EACCES") throw new UserError(`${path}: no permission to read it; change its permissions`);
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError(`${path} is not JSON: ${(error as Error).message.replaceAll(/\s+/g, " ")}`);
  }
}

/** Writes the two files; for a folder that must never be half new, call it inside `replaceFolder`. */
export async function writeModelFolder(
  folder: string,
  config: ModelConfig,
  weights: ReadonlyMap<string, Float32Array>,
): Promise<void> {
  await writeSafetensors(
    join(folder, weightsName),
    modelParameters(config).map(({ name, shape }): [string, HostTensor] => [
      name,
      { dtype: "float32", shape, data: weights.get(name)! },
    ]),
    { metadata: { format: "pt" } },
  );
  await writeFileAtomic(join(folder, configName), `${JSON.stringify(config, null, 2)}\n`);
}
