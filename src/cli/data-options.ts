/** The options that decide which images of a data set are held out, and where decoded data are kept. */

import type { Command } from "commander";
import { defaultCache } from "./cache.ts";
import { filled } from "./values.ts";

export interface DataFlags {
  heldOut?: string;
  group?: string;
  cache: string;
}

export const addDataOptions = (command: Command): Command =>
  command
    .option("--held-out <x|path>", "as in training: a share such as 0.05, or other data", filled)
    .option("--group <regex>", "as in training", filled)
    .option("--cache <dir>", "where decoded data sets are kept", filled, defaultCache());
