/** `fractalgen evaluate memorisation`: how close generated images are to training images, compared with held-out images. */

import type { Command } from "commander";
import type { Provider } from "../engine/engine.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { addDataOptions, type DataFlags } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { openNetwork } from "../measures/feature-network.ts";
import { findGenerated, type GeneratedFlags, leftOf, openBeside } from "./generated.ts";
import { addDrawing, addGenerated, featuresOption } from "./generated-options.ts";
import { keptFeatures } from "../measures/kept-features.ts";
import {
  checkHeldOut,
  type ClosenessMeasure,
  closenessMeasures,
  measureMemorisation,
  memorisationSets,
} from "../measures/memorisation.ts";
import { memorisationTable } from "./evaluate-memorisation-table.ts";
import { checkFile } from "./outputs.ts";
import { addQueueOptions, checkQueue } from "./queue-options.ts";
import { openRemote } from "./remote.ts";
import { addShardOptions, commandArgs, type ShardFlags } from "./shard.ts";
import { withProgress } from "./running.ts";
import { choice, filled, whole } from "./values.ts";

interface MemorisationFlags extends DataFlags, GeneratedFlags, Pick<ShardFlags, "shard" | "joined"> {
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
      .summary("how close generated images are to training images")
      .description(
        "Measure the distance from each generated image to its nearest training image, and compare it with the same distance for held-out images, which the model has never seen. Distances are measured in pixels (root mean squared difference, values from 0 to 1) and in a network's features. Images from a model that memorised its training set are closer to it than held-out images are.",
      )
      .optionsGroup("Images:"),
  ).requiredOption("--data <name|path>", "the model's training data: emoji, or images as for fractalgen train", filled);
  addDataOptions(command)
    .optionsGroup("Measures:")
    .addOption(featuresOption())
    .option(
      "--pairs <file>",
      "write a PNG of the closest pairs, each generated image next to its training image",
      filled,
    )
    .addOption(
      choice("--pairs-by <measure>", "which distance ranks these pairs", closenessMeasures).default("features"),
    )
    .option("--pairs-count <n>", "how many pairs", whole({ least: 1, most: 1000 }), 16)
    .option("--json", "print one line of JSON and no progress");
  addDrawing(command, { count: 200 }).addOption(deviceOption()).addOption(threadsOption());
  addShardOptions(addQueueOptions(command))
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate memorisation --generated emoji --data emoji --pairs pairs.png\n  fractalgen evaluate memorisation --generated samples/ --data photos/ --pairs pairs.png --pairs-by pixels",
    )
    .action(memorisation);
}

async function memorisation(flags: MemorisationFlags, command: Command): Promise<void> {
  checkQueue(flags);
  const { pairs, pairsBy: by, pairsCount: most } = flags;
  if (pairs !== undefined) checkFile(pairs, { option: "--pairs", endings: [".png"] });
  await withProgress({ quiet: flags.json, left: leftOf(flags) }, async (running) => {
    const { progress, signal, closing } = running;
    const context = { onProgress: progress.update, signal, kept: keptFeatures(flags.cache) };
    const found = await findGenerated(flags, { progress, signal });
    const dataset = await openBeside(flags.data, found, flags, { progress, signal });
    checkHeldOut(dataset);
    const engine = await openEngine(flags);
    const sharded = flags.shard && (await import("./shard-measure.ts"));
    sharded?.checkShardNetwork(flags);
    const own = closing(await openNetwork(engine, { ...flags, dataset, ...context }), (one) => one.dispose?.());
    const args = commandArgs(command);
    if (sharded) {
      const real = (count: number) => Object.values(memorisationSets(dataset, count));
      return sharded.shardMeasure(flags, args, { engine, found, dataset, network: own, real }, running);
    }
    const remote = await openRemote({ ...flags, joins: flags.joined ? args : undefined }, running);
    const network = remote?.network(own) ?? own;
    const generated = closing(await found.open(engine, dataset, remote), (one) => one.dispose?.());
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
