/** Model folders: `config.json` and `model.safetensors`, checked completely before anything runs. */

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { type ModelConfig, parseModelConfig } from "../config/model.ts";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { modelParameters } from "../model/parameters.ts";
import { storedTensors } from "../model/quantize.ts";
import { writeFileAtomic } from "./atomic.ts";
import { pathText, readRegularSync } from "./regular.ts";
import { readSafetensorsHeader, type SafetensorsFile, writeSafetensors } from "./safetensors.ts";

export const configName = "config.json";
export const weightsName = "model.safetensors";

/** A model folder whose files have been checked against each other. */
export interface ModelFolder {
  folder: string;
  config: ModelConfig;
  weights: SafetensorsFile;
}

const expected = `a folder with ${configName} and ${weightsName}`;

/** Reads a model folder, or the `last` checkpoint of a training folder. The weights stay in their file. */
export function readModelFolder(path: string): ModelFolder {
  const folder =
    !existsSync(join(path, configName)) && existsSync(join(path, "last", configName)) ? join(path, "last") : path;
  if (!existsSync(folder))
    throw new UserError({ problem: `there is no model folder ${path}`, expected, hint: "check the path" });
  if (!statSync(folder).isDirectory()) throw new UserError({ problem: `${path} is a file`, expected });
  if (!existsSync(join(folder, configName)))
    throw new UserError({ problem: `${path} is not a model folder: it has no ${configName}`, expected });
  const config = readConfigFile(join(folder, configName));
  const weights = readSafetensorsHeader(join(folder, weightsName));
  const problems = storedTensors(config).flatMap(({ name, shape, dtype }) => {
    const found = weights.tensors.get(name);
    const type = weights.unreadable.get(name);
    if (type) return [`${name} is ${type}, expected ${dtype}`];
    if (!found) return [`${name} is missing`];
    if (found.dtype !== dtype) return [`${name} is ${found.dtype}, expected ${dtype}`];
    return String(found.shape) === String(shape)
      ? []
      : [`${name} is ${shown(found.shape)}, expected [${shape.join(", ")}]`];
  });
  if (problems.length > 0)
    throw new UserError({
      problem: `${weights.path} does not fit its ${configName}: ${problems.slice(0, 5).join("; ")}${problems.length > 5 ? `; and ${problems.length - 5} more` : ""}`,
    });
  return { folder, config, weights };
}

/** Reads a model's configuration from a JSON file. */
export function readConfigFile(path: string): ModelConfig {
  return parseModelConfig(readJson(path), path);
}

/** Reads a JSON file in UTF-8, with or without a byte order mark. */
export function readJson(path: string): unknown {
  const bytes = readRegularSync(path, { most: limits.jsonBytes, what: "a JSON file" });
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    throw new UserError({
      problem: `${pathText(path)} is in UTF-16`,
      expected: "UTF-8",
      hint: "save it as UTF-8",
    });
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)); // decoding removes the mark
  } catch (error) {
    const { message } = error as Error;
    throw new UserError({
      problem: `${pathText(path)} is not JSON: ${error instanceof SyntaxError ? shown(message.replaceAll(/\s+/g, " "), 200) : "it is not UTF-8 text"}`,
    });
  }
}

/** Writes the two files. To replace a folder atomically, call it inside `replaceFolder`. */
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
