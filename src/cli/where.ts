/** Resolves relative paths from the folder in which the command was typed. */

import { existsSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * npm runs the scripts of a package in the package's own folder: `npm --prefix fractalgen run fractalgen -- sample --out a.png`
 * would otherwise write into the package's folder. Scripts of other packages keep the folder that npm gives them.
 */
export function asTyped(): void {
  const { INIT_CWD: typed, npm_package_json: file, npm_lifecycle_event: script } = process.env;
  const own = fileURLToPath(new URL("../../package.json", import.meta.url));
  // With npx, `file` is the package.json of the current folder, which may not exist. Node.js resolves links in module paths;
  // npm does not.
  if (!typed || !file || (script !== "fractalgen" && script !== "start") || !existsSync(file)) return;
  if (realpathSync(file) === own) process.chdir(typed);
}
