/** `fractalgen inspect`: a model's structure, level by level, and its operations for one image. */

import { existsSync, statSync } from "node:fs";
import { type Command } from "commander";
import { isPublished, publishedNames, publishedPreset } from "../config/published.ts";
import { complexity, total } from "../model/complexity.ts";
import { helpOption } from "./engine.ts";
import { type Inspected, inspectedLines, inspectedRecord } from "./inspect-table.ts";
import { findModel } from "./models.ts";
import { filled } from "./values.ts";

export function addInspect(program: Command): void {
  program
    .command("inspect")
    .summary("show a model's parameters, levels and operations")
    .description(
      "Show a model's parameters, its levels with their operations for one image, and its sampling defaults. The names and shapes of a folder's weights are checked.",
    )
    .argument("<preset|dir>", `a model folder, or one of ${publishedNames.join(", ")}`, filled)
    .option("--json", "print one line of JSON")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen inspect fractalmar_large_in256\n  fractalgen inspect runs/photos --json",
    )
    .action(inspect);
}

async function inspect(name: string, { json }: { json?: boolean }): Promise<void> {
  const inspected = await inspectedOf(name);
  console.log(json ? JSON.stringify(inspectedRecord(name, inspected)) : inspectedLines(name, inspected).join("\n"));
}

/** A folder takes precedence over a preset of the same name, as in `fractalgen sample`. */
async function inspectedOf(name: string): Promise<Inspected> {
  if (isPublished(name) && !existsSync(name)) {
    const config = publishedPreset(name);
    const levels = complexity(config);
    return { config, levels, bytes: 4 * total(levels, "parameters") };
  }
  const { config, folder, weights } = await findModel(name, { subject: "<preset|dir>", checked: false });
  const packed = [...weights.tensors.values()].find((entry) => entry.packed)?.packed;
  return { config, folder, levels: complexity(config), bytes: statSync(weights.path).size, packed };
}
