/** `fractalgen init`: writes a published model with random weights, for trying a full-size model without a download. */

import type { Command } from "commander";
import { publishedNames, publishedPreset } from "../config/published.ts";
import { parameterCount } from "../core/counted.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { duration } from "../core/duration.ts";
import { writeRandomModel } from "../files/random-model.ts";
import { modelParameters } from "../model/parameters.ts";
import { helpOption } from "./engine.ts";
import { ownNew } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { checkSpace } from "./space.ts";
import { filled, seeds } from "./values.ts";

interface InitFlags {
  seed: number;
  json?: boolean;
}

export function addInit(program: Command): void {
  program
    .command("init")
    .summary("create a published model with random weights")
    .description(
      "Write a model folder with the random weights that training starts from, to try a model at full size without a download. Its images are noise.",
    )
    .argument("<preset>", publishedNames.join(", "))
    .argument("<out>", "a new folder", filled)
    .option("--seed <n>", "the same seed gives the same weights", seeds, 0)
    .option("--json", "print one line of JSON and no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      '\nExample:\n  fractalgen init fractalmar_in64 random64 --seed 1\n  fractalgen sample --model random64 --iterations 4,4 -n 1 --guidance 1 --class "golden retriever"',
    )
    .action(init);
}

async function init(preset: string, out: string, { seed, json }: InitFlags): Promise<void> {
  const config = publishedPreset(preset);
  const parameters = modelParameters(config).reduce((sum, { shape }) => sum + product(shape), 0);
  const bytes = 4 * parameters;
  const made = await withProgress({ quiet: json }, async ({ progress, signal, closing }) => {
    const owned = closing(await ownNew(out, { option: "<out>", signal }), ({ release }) => release());
    await checkSpace(out, bytes);
    if (!json) console.error(`${preset}: ${parameterCount(parameters)}, ${byteCount(bytes)} in ${out}`);
    const started = performance.now();
    const onProgress = (count: number) => {
      const seconds = (performance.now() - started) / 1000;
      const left = duration((seconds * (parameters - count)) / count);
      progress.update(
        `${((100 * count) / parameters).toFixed(0).padStart(3)}%  ${byteCount(4 * count)} of ${byteCount(bytes)}  ${left} left`,
      );
    };
    await writeRandomModel(out, config, { seed, signal, onProgress, owned });
    return true;
  });
  if (made) console.log(json ? JSON.stringify({ out, preset, seed, parameters, bytes }) : out);
}
