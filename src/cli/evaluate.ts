/** `fractalgen evaluate`: how good a model is, in numbers. Each measure is a command in a file of its own. */

import type { Command } from "commander";
import { helpOption } from "./engine.ts";
import { addLikelihood } from "./evaluate-likelihood.ts";

export function addEvaluate(program: Command): void {
  const evaluate = program
    .command("evaluate")
    .summary("measure a model")
    .description("Measure a model: the likelihood of images.")
    .addHelpOption(helpOption())
    .addHelpText("after", "\nExample:\n  fractalgen evaluate likelihood --model emoji --data emoji");
  addLikelihood(evaluate);
}
