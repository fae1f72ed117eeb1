/** Finds models: a folder, or the name of one that ships with the program. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { didYouMean, UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { configName, type ModelFolder, readModelFolder } from "../files/model.ts";

const shipped = fileURLToPath(new URL("../../models/", import.meta.url));

export const shippedModels = (): string[] =>
  existsSync(shipped) ? readdirSync(shipped).filter((name) => existsSync(join(shipped, name, configName))) : [];

/** A model by name or folder. A folder of a running training gives its last checkpoint. */
export async function findModel(nameOrFolder: string): Promise<ModelFolder> {
  const names = shippedModels();
  if (names.includes(nameOrFolder)) return readModelFolder(join(shipped, nameOrFolder));
  await recoverFolder(nameOrFolder);
  await recoverFolder(join(nameOrFolder, "last"));
  if (!existsSync(nameOrFolder)) {
    const ships = names.length > 0 ? `, and those that ship are ${names.join(", ")}` : ", and none ships";
    throw new UserError(
      `--model: there is no model "${nameOrFolder}": there is no such folder${ships}${didYouMean(nameOrFolder, names)}`,
    );
  }
  return readModelFolder(nameOrFolder);
}

/** Labels of classes given by name or number, "heart,3". */
export function parseClasses(text: string, classes: readonly string[]): number[] {
  const named = (name: string) => classes.findIndex((known) => known.toLowerCase() === name.trim().toLowerCase());
  // ImageNet's names have commas of their own.
  if (named(text) >= 0) return [named(text)];
  return text.split(",").map((part) => {
    const name = part.trim();
    if (named(name) >= 0) return named(name);
    const number = name === "" ? Number.NaN : Number(name);
    if (Number.isInteger(number) && number >= 0 && number < classes.length) return number;
    const known =
      classes.length > 30 ? `${classes.slice(0, 30).join(", ")} … (${classes.length} in all)` : classes.join(", ");
    const near = Number.isNaN(number) && name !== "" ? didYouMean(name, classes) : "";
    throw new UserError(
      `--class: the model has no class "${name}"${near || `; it has ${known}, or numbers from 0 to ${classes.length - 1}`}`,
    );
  });
}
