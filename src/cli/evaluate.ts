/** `fractalgen evaluate`: measures how good a model is. Each measure is a subcommand in its own file. */

import type { Command } from "commander";
import { helpOption } from "./engine.ts";
import { addEditing } from "./evaluate-editing.ts";
import { addFeatures } from "./evaluate-features.ts";
import { addLikelihood } from "./evaluate-likelihood.ts";
import { addMemorisation } from "./evaluate-memorisation.ts";
import { addQuality } from "./evaluate-quality.ts";

export function addEvaluate(program: Command): void {
  const evaluate = program
    .command("evaluate")
    .summary("measure a model")
    .description(
      "Measure a model: the likelihood of images, the quality of its samples, how much it memorised, and how well edits fit their surroundings.",
    )
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate likelihood --model emoji --data emoji\n  fractalgen evaluate quality --generated emoji --reference emoji\n  fractalgen evaluate memorisation --generated emoji --data emoji --pairs pairs.png",
    );
  addLikelihood(evaluate);
  addQuality(evaluate);
  addMemorisation(evaluate);
  addEditing(evaluate);
  addFeatures(evaluate);
}
