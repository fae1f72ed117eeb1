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
  if (shippedModels().includes(nameOrFolder)) return readModelFolder(join(shipped, nameOrFolder));
  await recoverFolder(nameOrFolder);
  await recoverFolder(join(nameOrFolder, "last"));
  if (!existsSync(nameOrFolder))
    throw new UserError(
      `there is no model "${nameOrFolder}": neither a folder nor one that ships (${shippedModels().join(", ")})${didYouMean(nameOrFolder, shippedModels())}`,
    );
  return readModelFolder(nameOrFolder);
}

/** Labels of classes given by name or number, "heart,3". */
export function parseClasses(text: string, classes: readonly string[]): number[] {
  return text.split(",").map((part) => {
    const name = part.trim();
    const byName = classes.findIndex((known) => known.toLowerCase() === name.toLowerCase());
    if (byName >= 0) return byName;
    const number = Number(name);
    if (name !== "" && Number.isInteger(number) && number >= 0 && number < classes.length) return number;
    const known = classes.length > 30 ? `${classes.slice(0, 30).join(", ")} … (${classes.length} in all)` : classes.join(", ");
    throw new UserError(
      `the model has no class "${name}"${didYouMean(name, classes) || `; it has ${known}, or numbers from 0 to ${classes.length - 1}`}`,
    );
  });
}
