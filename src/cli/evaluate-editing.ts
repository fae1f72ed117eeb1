/** `fractalgen evaluate editing`: how well redrawn regions of held-out images fit their surroundings. */

import type { Command } from "commander";
import { recordedSampling } from "../config/sampling.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { likelihoodOf } from "../evaluate/likelihood.ts";
import { type EditingTask, type Side, sides } from "../sample/masks.ts";
import { editingImages, type EditingRow, measuredTasks, measureEditing, plannedRows } from "../measures/editing.ts";
import { openSampler } from "../workers/sampler.ts";
import { addDataOptions, type DataFlags, openFor } from "./data-options.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { editingTable } from "./evaluate-editing-table.ts";
import { findModel, modelOption, nameOf } from "./models.ts";
import { withProgress } from "./running.ts";
import { addSamplingOptions, type SamplingFlags, settingsOf } from "./sampling-options.ts";
import { bytes, choice, filled, seeds, whole } from "./values.ts";
import { sentenceOf } from "./wording.ts";

interface EditingFlags extends DataFlags, SamplingFlags {
  model: string;
  data: string;
  images: number;
  task?: EditingTask;
  extent?: number;
  given?: Side;
  ring: number;
  seed: number;
  batch: number;
  memory?: number;
  json?: boolean;
  device: Provider;
  threads?: number;
}

export function addEditing(evaluate: Command): void {
  const command = evaluate
    .command("editing")
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .summary("seams and likelihood of redrawn regions")
    .description(
      "Redraw a region of held-out images, with and without a ring around it. Seam: the mean difference between neighbouring values across the region's border, relative to the difference inside the region and to the original's across the same border. Bits: the bits per dimension of the region given the kept pixels, for the generated content and for the original. They are exact for AR models. For MAR models they are exact for one random generation order, which starts with the kept patches and continues patch by patch.",
    )
    .optionsGroup("Images:")
    .addOption(modelOption())
    .requiredOption("--data <name|path>", "emoji, or images as for fractalgen train", filled)
    .option("--images <n>", "number of held-out images, evenly spaced", whole({ least: 2 }), 32);
  addDataOptions(command)
    .optionsGroup("Region:")
    .addOption(choice("--task <name>", "one task (default: all three)", measuredTasks))
    .option(
      "--extent <n>",
      "side of the hole or the kept centre, in pixels (default: half the image)",
      whole({ least: 1 }),
    )
    .addOption(
      choice("--given <side>", "for outpaint: the half to keep (default: left; top if the first level is AR)", sides),
    )
    .option(
      "--ring <n>",
      "width in patches of the ring that is compared with no ring",
      whole({ least: 1, most: 4096 }),
      1,
    )
    .option("--seed <n>", "random seed", seeds, 0)
    .optionsGroup("Sampling (default: the model's own settings):");
  addSamplingOptions(command)
    .optionsGroup("Performance:")
    .option("--json", "print one line of JSON and no progress")
    .option("--batch <n>", "images per batch; does not affect results", whole({ least: 1, most: 4096 }), 32)
    .option("--memory <size>", "memory limit for generation, such as 3GB (default: all free memory)", bytes)
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen evaluate editing --data emoji --images 64\n  fractalgen evaluate editing --model runs/photos --data photos/ --task inpaint --extent 10 --json",
    )
    .action(editing);
}

async function editing(flags: EditingFlags): Promise<void> {
  const model = await findModel(flags.model);
  const { config } = model;
  const onLeftOut = (task: EditingTask, reason: UserError) => {
    if (!flags.json) console.error(`skipping ${task}: ${sentenceOf(reason)}`);
  };
  const rows = plannedRows({ ...flags, onLeftOut }, config);
  await withProgress({ quiet: flags.json }, async ({ progress, signal, closing }) => {
    const dataset = await openFor(config, flags, { progress, signal });
    const { split, withClasses } = editingImages(config, dataset, flags.images);
    const settings = settingsOf(withClasses ? flags : { ...flags, guidance: 1 }, config);
    const engine = await openEngine(flags);
    const { sampler, batch } = openSampler(engine, model, { ...flags, ...settings, count: split.count });
    closing(sampler, () => sampler.dispose());
    const { seed } = flags;
    const context = { model, sampler, split, seed, settings, withClasses, batch, signal };
    const found: EditingRow[] = [];
    for (const planned of rows) {
      const done = `${found.length} of ${rows.length} done; ${planned.task}`;
      const onProgress = (text: string) => progress.update(`${done}: ${text}`);
      found.push(await measureEditing(engine, planned, { ...context, onProgress }));
    }
    progress.clear();
    const described = {
      model: nameOf(model),
      data: dataset.name,
      images: split.count,
      classes: withClasses,
      exact: likelihoodOf(config) === "exact",
      seed,
      ...recordedSampling(settings),
    };
    console.log(flags.json ? JSON.stringify({ ...described, rows: found }) : editingTable(described, found));
  });
}
