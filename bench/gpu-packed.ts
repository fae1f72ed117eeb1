/** The program that `gpu-pack.sh` packs: the benchmark of a GPU alone. */

import { UserError } from "../src/core/errors.ts";
import { gpuCommand } from "./gpu-command.ts";

try {
  await gpuCommand().parseAsync();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
