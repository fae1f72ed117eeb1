/** Where downloads, decoded data and feature networks are cached by default. */

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The default cache folder. An empty XDG_CACHE_HOME counts as not set. */
export const defaultCache = (): string =>
  join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "fractalgen");

/** The name that commands use for the network that defines FID. */
export const inceptionName = "inception";

/** Where `download inception` writes the converted weights, and where `--features inception` looks for them. */
export const inceptionPath = (cache: string): string => join(cache, "inception.safetensors");

/** The same path, or undefined if the weights are not there. */
export function findInception(cache: string): string | undefined {
  const path = inceptionPath(cache);
  return existsSync(path) ? path : undefined;
}
