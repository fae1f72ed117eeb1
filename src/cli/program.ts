/** The command line: all commands, and a function that runs one and returns its exit code. */

import { Command, CommanderError } from "commander";
import { reported } from "./mistakes.ts";
import { version } from "./version.ts";

/** In the order of the help. Each command's file is loaded on demand, because loading all of them takes a second. */
const commands: Record<string, () => Promise<(program: Command) => void>> = {
  sample: async () => (await import("./sample.ts")).addSample,
  edit: async () => (await import("./edit.ts")).addEdit,
  worker: async () => (await import("./worker.ts")).addWorker,
  join: async () => {
    const { addJoin } = await import("./join.ts");
    return (program) => addJoin(program, run);
  },
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

/** The program with all commands, or with only the command called `named` if there is one. */
export async function commandLine(named = ""): Promise<Command> {
  const program = new Command("fractalgen")
    .description(
      "Fractal generative models: images built by generators nested within generators, down to the bytes of each pixel.",
    )
    .version(version)
    .exitOverride()
    // `reported` prints errors, each as one sentence.
    .configureOutput({ outputError: () => {} })
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen sample --class heart,face --out hearts.png\n  fractalgen train --data emoji --out runs/emoji\n  fractalgen sample --help",
    );
  const needed = Object.hasOwn(commands, named) ? [named] : named === "--version" ? [] : Object.keys(commands);
  for (const name of needed) (await commands[name]())(program);
  for (const command of program.commands)
    for (const leaf of command.commands.length > 0 ? command.commands : [command])
      leaf.option("--verbose", "show a stack trace if an error occurs");
  return program;
}

/** Runs a command and returns its exit code: 0 for success, 1 for an internal failure, 2 for a user error. A command may set another code itself. */
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
