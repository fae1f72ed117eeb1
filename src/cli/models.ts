/** Finds models: a folder, or the name of one that ships with the program. */

import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Option } from "commander";
import { isPublished, publishedNames } from "../config/published.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { checkWeights } from "../files/finite.ts";
import { configName, type ModelFolder, readModelFolder } from "../files/model.ts";

import { filled } from "./values.ts";

export { allClasses, labelsInTurn, parseClasses } from "../config/classes.ts";

const shipped = fileURLToPath(new URL("../../models/", import.meta.url));

export const shippedModels = (): string[] =>
  existsSync(shipped) ? readdirSync(shipped).filter((name) => existsSync(join(shipped, name, configName))) : [];

export function modelOption(): Option {
  const ships = shippedModels();
  const which = ships.length > 0 ? `, or one that ships: ${ships.join(", ")}` : "";
  return new Option("--model <dir|name>", `a model folder${which}`).argParser(filled).default("emoji");
}

/**
 * A model by name or folder, which `option` gave. A folder of a running training gives its last checkpoint. Weights that are
 * no numbers are refused, unless nothing is drawn from them.
 */
export async function findModel(
  nameOrFolder: string,
  { option = "--model", checked = true }: { option?: string; checked?: boolean } = {},
): Promise<ModelFolder> {
  const model = await foundModel(nameOrFolder, option);
  if (checked) checkWeights(model);
  return model;
}

async function foundModel(nameOrFolder: string, option: string): Promise<ModelFolder> {
  const names = shippedModels();
  if (names.includes(nameOrFolder)) return readModelFolder(join(shipped, nameOrFolder));
  await recoverFolder(nameOrFolder);
  await recoverFolder(join(nameOrFolder, "last"));
  if (existsSync(nameOrFolder)) return readModelFolder(nameOrFolder);
  if (isPublished(nameOrFolder))
    throw new UserError(
      `${option}: the weights of ${nameOrFolder} do not ship with the program; get them with "fractalgen download ${nameOrFolder}", "fractalgen convert CHECKPOINT.pth DIR --config ${nameOrFolder}" or, random ones, "fractalgen init ${nameOrFolder} DIR", and give that folder`,
    );
  const ships = names.length > 0 ? `, and those that ship are ${names.join(", ")}` : ", and none ships";
  throw new UserError(
    `${option}: there is no model "${nameOrFolder}": there is no such folder${ships}${didYouMean(nameOrFolder, [...names, ...publishedNames])}`,
  );
}

/** What a model without a name is called: its folder, or that of the run whose last checkpoint it is. */
export function nameOf({ config, folder }: ModelFolder): string {
  const path = resolve(folder);
  return config.name ?? basename(basename(path) === "last" ? dirname(path) : path);
}
