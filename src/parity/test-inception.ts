/** Inception-v3 with synthetic weights, 96 MB, written once for all tests of a run. */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { built } from "../test-program.ts";
import { readParameters, writeSynthetic } from "./features.ts";

const parameters = fileURLToPath(new URL("../../fixtures/metrics/inception-parameters.json", import.meta.url));

/** The path of the weights. The file is written atomically, so tests that need it at the same time do no harm. */
export async function syntheticInception(): Promise<string> {
  const path = join(dirname(built("index")), "inception.safetensors");
  if (!existsSync(path)) await writeSynthetic(path, readParameters(parameters));
  return path;
}
