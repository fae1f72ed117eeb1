#!/usr/bin/env node
/** The command line: finds the command, and turns mistakes into one sentence and exit code 2. */

import { Command, CommanderError } from "commander";
import { UserError } from "../core/errors.ts";
import { addSample } from "./sample.ts";
import { addTrain } from "./train.ts";
import { version } from "./version.ts";

export function commandLine(): Command {
  const program = new Command("fractalgen")
    .description("Fractal generative models: images made by generators inside generators, down to the bytes of a pixel.")
    .version(version)
    .exitOverride()
    .showSuggestionAfterError();
  addSample(program);
  addTrain(program);
  return program;
}

try {
  await commandLine().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof UserError) {
    console.error(`error: ${error.message}`);
    process.exitCode = 2;
  } else throw error;
}
