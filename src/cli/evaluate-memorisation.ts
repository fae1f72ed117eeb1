/** `fractalgen evaluate memorisation`: how near generated images are to training images, beside held-out ones. */

import { type Command, Option } from "commander";
import type { Provider } from "../engine/engine.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { openNetwork } from "../measures/feature-network.ts";
import { findGenerated, type GeneratedFlags, leftOf, openBeside } from "./generated.ts";
import { addDrawing, addGenerated } from "./generated-options.ts";
import { keptFeatures } from "../measures/kept-features.ts";
import {
  checkHeldOut,
  type ClosenessMeasure,
  closenessMeasures,
  measureMemorisation,
} from "../measures/memorisation.ts";
import { memorisationTable } from "./evaluate-memorisation-table.ts";
import { checkFile } from "./outputs.ts";
import { withProgress } from "./running.ts";
import { filled, oneOf, whole } from "./values.ts";

interface MemorisationFlags extends DataFlags, GeneratedFlags {
  data: string;
  features?: string;
  pairs?: string;
  pairsBy: ClosenessMeasure;
  pairsCount: number;
  json?: boolean;
  device: Provider;
}

export function addMemorisation(evaluate: Command): void {
  const command = addGenerated(
    evaluate
      .command("memorisation")
      .exitOverride()
      .configureOutput({ outputError: () => {} })
      .summary("how near generated images are to training images")
      .description(
        "The distance of every generated image to the nearest training image, beside the same of held-out images, which no model has seen: by pixels (root mean squared difference, of 1) and by a network's features. A model that learnt its images by heart is nearer to them than held-out images are.",
      )
      .optionsGroup("Of what:"),
  ).requiredOption("--data <name|path>", "what the model was trained on: emoji, or as for fractalgen train", filled);
  addDataOptions(command)
    .optionsGroup("Measures:")
    .option(
      "--features <name|dir>",
      "inception, own (trained where need be), or the folder of a network of fractalgen evaluate features",
      filled,
    )
    .option("--pairs <file>", "a PNG of the nearest pairs: generated, and the training image beside it", filled)
    .addOption(
      new Option("--pairs-by <measure>", "which distance these are the nearest by")
        .choices(closenessMeasures)
        .argParser(oneOf(closenessMeasures))
        .default("features"),
    )
    .option("--pairs-count <n>", "how many", whole({ least: 1, most: 1000 }), 16)
    .option("--json", "print one line of JSON, no progress");
  addDrawing(command, { count: 200 })
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate memorisation --generated emoji --data emoji --pairs pairs.png\n  fractalgen evaluate memorisation --generated samples/ --data photos/ --pairs pairs.png --pairs-by pixels",
    )
    .action(memorisation);
}

async function memorisation(flags: MemorisationFlags): Promise<void> {
  const { pairs, pairsBy: by, pairsCount: most } = flags;
  if (pairs !== undefined) checkFile(pairs, { option: "--pairs", endings: [".png"] });
  await withProgress({ quiet: flags.json, left: leftOf(flags) }, async ({ progress, signal, closing }) => {
    const context = { onProgress: progress.update, signal, kept: keptFeatures(flags.cache) };
    const found = await findGenerated(flags, { progress, signal });
    const dataset = await openBeside(flags.data, found, flags, { progress, signal });
    checkHeldOut(dataset);
    const engine = await openEngine(flags);
    const network = closing(await openNetwork(engine, { ...flags, dataset, ...context }), (one) => one.dispose?.());
    const generated = closing(await found.open(engine, dataset), (one) => one.dispose?.());
    const asked = { generated, dataset, network, pairs: pairs === undefined ? undefined : { by, most } };
    const measured = await measureMemorisation(engine, asked, context);
    if (measured.pairs) await writeFileAtomic(pairs!, measured.pairs);
    context.kept.forget();
    progress.clear();
    const skipped = [...generated.skipped, ...dataset.skipped];
    const described = {
      generated: generated.name,
      imageSize: found.size,
      resized: { generated: generated.resized ?? 0, data: dataset.report?.resized ?? 0 },
      drawn: found.settings,
      data: dataset.name,
      trainingImages: dataset.train.count,
      features: { kind: network.kind, name: network.name },
    };
    const { compared } = measured;
    console.log(
      flags.json
        ? JSON.stringify({ ...described, skipped, ...compared })
        : memorisationTable(described, compared, skipped),
    );
  });
}
