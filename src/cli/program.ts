/** The command line as a value: all commands, and what a call of it comes to as an exit code. */

import { Command, CommanderError } from "commander";
import { addConvert } from "./convert.ts";
import { addDownload } from "./download.ts";
import { addEdit } from "./edit.ts";
import { addEvaluate } from "./evaluate.ts";
import { addExport } from "./export.ts";
import { addInit } from "./init.ts";
import { addInspect } from "./inspect.ts";
import { reported } from "./mistakes.ts";
import { addQuantize } from "./quantize.ts";
import { addSample } from "./sample.ts";
import { addTrain } from "./train.ts";
import { version } from "./version.ts";

export function commandLine(): Command {
  const program = new Command("fractalgen")
    .description(
      "Fractal generative models: images made by generators inside generators, down to the bytes of a pixel.",
    )
    .version(version)
    .exitOverride()
    // Mistakes are told by `reported`, each as one sentence.
    .configureOutput({ outputError: () => {} })
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen sample --class heart,face --out hearts.png\n  fractalgen train --data emoji --out runs/emoji\n  fractalgen sample --help",
    );
  addSample(program);
  addEdit(program);
  addTrain(program);
  addEvaluate(program);
  addQuantize(program);
  addConvert(program);
  addExport(program);
  addInspect(program);
  addInit(program);
  addDownload(program);
  return program;
}

/** Runs a command: 0 when it is done, 1 for a fault of ours, 2 for a mistake of the user; a command itself may set others. */
export async function run(args: string[]): Promise<number> {
  const program = commandLine();
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // --help and --version
    const command = program.commands.find((known) => known.name() === args[0]);
    return reported(error, { help: command ? `fractalgen ${command.name()} --help` : "fractalgen --help" });
  }
}
