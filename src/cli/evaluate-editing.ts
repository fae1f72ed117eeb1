/** `fractalgen evaluate editing`: how well what is drawn into held-out images fits them. */

import { type Command, Option } from "commander";
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
import { bytes, filled, oneOf, seeds, whole } from "./values.ts";
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
    .summary("seams and likelihood of what is drawn into images")
    .description(
      "Redraw a part of held-out images, without and with a ring around it. Seam: the mean difference of neighbouring values across the border of what is drawn, against that inside of it and against the original's across the same border. Bits: per dimension of what is drawn, given all that is kept, of the filling and of the original: exact for AR models, of MAR models exact for one random generation order that begins with what is kept and goes on patch by patch.",
    )
    .optionsGroup("Of what:")
    .addOption(modelOption())
    .requiredOption("--data <name|path>", "emoji, or images as for fractalgen train", filled)
    .option("--images <n>", "so many held-out ones, evenly spaced", whole({ least: 2 }), 32);
  addDataOptions(command)
    .optionsGroup("What is redrawn:")
    .addOption(
      new Option("--task <name>", "one task (default: all three)")
        .choices(measuredTasks)
        .argParser(oneOf(measuredTasks)),
    )
    .option("--extent <n>", "side of the hole or of the kept centre (default: half the image)", whole({ least: 1 }))
    .addOption(
      new Option("--given <side>", "the half that is given, to outpaint (default: left; top where there are AR levels)")
        .choices(sides)
        .argParser(oneOf(sides)),
    )
    .option("--ring <n>", "patches of the ring that is compared to none", whole({ least: 1, most: 4096 }), 1)
    .option("--seed <n>", "of all that is random", seeds, 0)
    .optionsGroup("How it is drawn (default: as the model says):");
  addSamplingOptions(command)
    .optionsGroup("How it runs:")
    .option("--json", "print one line of JSON, no progress")
    .option("--batch <n>", "images at once; no result depends on it", whole({ least: 1, most: 4096 }), 32)
    .option("--memory <size>", "most memory for drawing, such as 3GB (default: what is free)", bytes)
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
    if (!flags.json) console.error(`${task} is left out: ${sentenceOf(reason)}`);
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
