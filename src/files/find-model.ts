/** Finds a model by its folder, or by name if it ships with the program. */

import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { isPublished, publishedNames } from "../config/published.ts";
import { didYouMean, type SettingName, UserError } from "../core/errors.ts";
import { readFolder, recoverFolder } from "./atomic.ts";
import { checkWeights } from "./finite.ts";
import { configName, type ModelFolder, readModelFolder } from "./model.ts";

const shipped = fileURLToPath(new URL("../../models/", import.meta.url));

/** The model that commands, the server and the studio use unless told otherwise. */
export const defaultModel = "emoji";

/** The names of the models that ship with the program, the default one first. */
export function shippedModels(): string[] {
  if (!existsSync(shipped)) return [];
  const names = readdirSync(shipped).filter((name) => existsSync(join(shipped, name, configName)));
  return names.sort((a, b) => Number(b === defaultModel) - Number(a === defaultModel));
}

/**
 * Finds a model by name or folder; `subject` is the setting that gave it. For the folder of a training run, returns the last
 * checkpoint. Throws a `UserError` if there is no such model or, unless `checked` is false, if a weight is not a number.
 */
export async function findModel(
  nameOrFolder: string,
  { subject = { setting: "model" }, checked = true }: { subject?: string | SettingName; checked?: boolean } = {},
): Promise<ModelFolder> {
  const read = (folder: string): ModelFolder => {
    const model = readModelFolder(folder);
    if (checked) checkWeights(model);
    return model;
  };
  const names = shippedModels();
  if (names.includes(nameOrFolder)) return read(join(shipped, nameOrFolder));
  await recoverFolder(nameOrFolder);
  const last = join(nameOrFolder, "last");
  if (existsSync(nameOrFolder)) return readFolder(nameOrFolder, () => readFolder(last, () => read(nameOrFolder)));
  if (isPublished(nameOrFolder))
    throw new UserError({
      subject,
      problem: `the weights of ${nameOrFolder} are not bundled with the program`,
      hint: [
        { do: "download them", command: `download ${nameOrFolder}` },
        { do: "convert a checkpoint", command: "convert CHECKPOINT.pth DIR", setting: "config", value: nameOrFolder },
        { do: "create random weights and use that folder", command: `init ${nameOrFolder} DIR` },
      ],
    });
  const ships = names.length > 0 ? `, and the bundled models are ${names.join(", ")}` : "";
  throw new UserError({
    subject,
    problem: `there is no model "${nameOrFolder}": there is no such folder${ships}${didYouMean(nameOrFolder, [...names, ...publishedNames])}`,
  });
}

/** The name of a model. Without one in its configuration, the name of its folder, or of the run's folder for a last checkpoint. */
export function nameOf({ config, folder }: ModelFolder): string {
  const path = resolve(folder);
  return config.name ?? basename(basename(path) === "last" ? dirname(path) : path);
}
