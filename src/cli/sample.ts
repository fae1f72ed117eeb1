/** `fractalgen sample`: generates images as a labelled grid and, if requested, as individual files and an animation. */

import type { Command } from "commander";
import { checkOutputs, drawImages, owningEach } from "./drawing.ts";
import { addDrawingOptions, type DrawingFlags } from "./drawing-options.ts";
import { endDrawing } from "./drawn-report.ts";
import type { ImageGrid } from "./film.ts";
import { allClasses, findModel, labelsInTurn, modelOption, parseClasses } from "./models.ts";
import { addQueueOptions, checkQueue } from "./queue-options.ts";
import { drawEach } from "./sample-each.ts";
import { addSamplingOptions, type SamplingFlags, settingsOf } from "./sampling-options.ts";
import { addShardOptions, commandArgs, type ShardFlags } from "./shard.ts";
import { collected, seeds, whole } from "./values.ts";
import { software } from "./version.ts";

interface SampleFlags extends SamplingFlags, DrawingFlags, Pick<ShardFlags, "shard" | "joined"> {
  model: string;
  class?: string;
}

export function addSample(program: Command): void {
  const command = program
    .command("sample")
    .summary("generate images")
    .description("Generate images as a labelled grid and, if requested, as individual files and an animation.")
    .optionsGroup("Images:")
    .addOption(modelOption())
    .option(
      "--class <names>",
      "classes by name or number, or groups of classes, comma-separated; images cycle through them (default: all)",
      collected,
    )
    .option("-n, --count <n>", "how many images", whole({ least: 1, most: 100_000 }), 16)
    .option("--seed <n>", "the same seed, classes and options give the same images", seeds, 0)
    .optionsGroup("Sampling (default: the model's own settings):");
  addShardOptions(
    addQueueOptions(
      addDrawingOptions(addSamplingOptions(command), { out: "out/samples.png", columns: "a roughly square grid" }),
    ),
  )
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen sample --model emoji --class heart,face -n 16 --seed 1 --guidance 4 --out grid.png\n  fractalgen sample --class flag -n 4 --animate flags.webp --each flags/",
    )
    .action(sample);
}

async function sample(flags: SampleFlags, command: Command): Promise<void> {
  checkQueue(flags);
  const model = await findModel(flags.model);
  const { config } = model;
  const choices = flags.class === undefined ? allClasses(config) : parseClasses(flags.class, config);
  const labels = labelsInTurn(choices, flags.count);
  const names = labels.map((label) => config.classes[label]);
  const settings = settingsOf(flags, config);
  const { imageSize: size, channels } = config;
  const picture: ImageGrid = { count: flags.count, size, channels, columns: flags.columns };
  const shown = checkOutputs(flags, { ...picture, labels: names });
  const { seed } = flags;
  const written = { software, model, names, inTurn: [...new Set(names)], settings, shown };
  const args = commandArgs(command);
  if (flags.shard) {
    const { drawShard } = await import("./shard-sample.ts");
    return drawShard(flags, args, { labels, written });
  }
  await owningEach(flags, async () => {
    if (flags.queue !== undefined || flags.joined) {
      const { drawOnQueue } = await import("./sample-queue.ts");
      const drawn = await drawOnQueue({ ...flags, joins: flags.joined ? args : undefined }, { labels, written });
      if (drawn) await endDrawing(flags, drawn, written);
      return;
    }
    if (flags.each !== undefined && flags.animate === undefined) {
      const drawn = await drawEach(flags, { labels, written });
      if (drawn) await endDrawing(flags, drawn, written);
      return;
    }
    const drawn = await drawImages(model, { ...flags, ...settings }, (sampler, running) =>
      sampler.sample({ labels, seed, ...settings, ...running }),
    );
    if (drawn) await endDrawing(flags, drawn, written);
  });
}
