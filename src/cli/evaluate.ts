/** `fractalgen evaluate`: how good a model is, in numbers. Each measure is a command in a file of its own. */

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
      "Measure a model: the likelihood of images, the quality of what it generates, how much it learnt by heart, and how well edits fit.",
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
