/** Where relative paths begin: in the folder where the command was typed. */

import { existsSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * npm runs the scripts of a package in the package's own folder: `npm --prefix fractalgen run fractalgen -- sample --out a.png`
 * would write to another folder than the one it was typed in. Other packages' scripts begin where their authors expect.
 */
export function asTyped(): void {
  const { INIT_CWD: typed, npm_package_json: file, npm_lifecycle_event: script } = process.env;
  const own = fileURLToPath(new URL("../../package.json", import.meta.url));
  // With npx, `file` is that of the folder it was typed in, which may have none. Node.js resolves links in the paths of
  // modules, npm does not.
  if (!typed || !file || (script !== "fractalgen" && script !== "start") || !existsSync(file)) return;
  if (realpathSync(file) === own) process.chdir(typed);
}
