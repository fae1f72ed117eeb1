/** Where downloads, decoded data and networks are kept unless another place is asked for. */

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The folder of everything that is kept; an empty XDG_CACHE_HOME counts as not set. */
export const defaultCache = (): string =>
  join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "fractalgen");

/** What commands call the network that FID is defined by. */
export const inceptionName = "inception";

/** Where `download inception` puts the converted weights, and `--features inception` looks for them. */
export const inceptionPath = (cache: string): string => join(cache, "inception.safetensors");

/** The same path where the weights are there. */
export function findInception(cache: string): string | undefined {
  const path = inceptionPath(cache);
  return existsSync(path) ? path : undefined;
}
