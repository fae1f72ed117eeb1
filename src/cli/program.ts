/** The command line as a value: all commands, and what a call of it comes to as an exit code. */

import { Command, CommanderError } from "commander";
import { reported } from "./mistakes.ts";
import { version } from "./version.ts";

/** In the order of the help. Each stands in a file of its own, which is loaded when it is wanted: all together take a second. */
const commands: Record<string, () => Promise<(program: Command) => void>> = {
  sample: async () => (await import("./sample.ts")).addSample,
  edit: async () => (await import("./edit.ts")).addEdit,
  serve: async () => (await import("./serve.ts")).addServe,
  train: async () => (await import("./train.ts")).addTrain,
  data: async () => (await import("./data.ts")).addData,
  evaluate: async () => (await import("./evaluate.ts")).addEvaluate,
  quantize: async () => (await import("./quantize.ts")).addQuantize,
  convert: async () => (await import("./convert.ts")).addConvert,
  export: async () => (await import("./export.ts")).addExport,
  inspect: async () => (await import("./inspect.ts")).addInspect,
  init: async () => (await import("./init.ts")).addInit,
  download: async () => (await import("./download.ts")).addDownload,
};

/** With all commands, or with the named one alone where there is one of that name. */
export async function commandLine(named = ""): Promise<Command> {
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
  for (const name of Object.hasOwn(commands, named) ? [named] : Object.keys(commands))
    (await commands[name]())(program);
  for (const command of program.commands)
    for (const leaf of command.commands.length > 0 ? command.commands : [command])
      leaf.option("--verbose", "show where in the program an error came from");
  return program;
}

/** Runs a command: 0 when it is done, 1 for a fault of ours, 2 for a mistake of the user; a command itself may set others. */
export async function run(args: string[]): Promise<number> {
  const program = await commandLine(args[0]);
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // --help and --version
    const command = program.commands.find((known) => known.name() === args[0]);
    const help = command ? `fractalgen ${command.name()} --help` : "fractalgen --help";
    return reported(error, { help, verbose: args.includes("--verbose") });
  }
}
