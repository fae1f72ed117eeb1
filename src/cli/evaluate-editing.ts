/** `fractalgen evaluate editing`: how well what is drawn into held-out images fits them. */

import { type Command, Option } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { recordedSampling } from "../config/sampling.ts";
import { UserError } from "../core/errors.ts";
import { evenly, imagesBetween, type Split, splitOf } from "../data/dataset.ts";
import type { Engine, Provider } from "../engine/engine.ts";
import { likelihoodOf, likelihoods } from "../evaluate/likelihood.ts";
import { ratioOf, seamOf } from "../evaluate/seam.ts";
import { type Mean, meanOf } from "../evaluate/summary.ts";
import { externalModel } from "../files/external.ts";
import type { ModelFolder } from "../files/model.ts";
import { drawnMask } from "../sample/edit.ts";
import { type EditingTask, type Side, sides, taskMask } from "../sample/masks.ts";
import type { Sampler } from "../sample/sampler.ts";
import { checkDataset } from "../train/trainer.ts";
import { addDataOptions, type DataFlags, openFor } from "./data-options.ts";
import { nameOf } from "./drawing.ts";
import { usuallyGiven } from "./edit-inputs.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { findModel, modelOption } from "./models.ts";
import { withProgress } from "./running.ts";
import {
  addSamplingOptions,
  openSampler,
  type SamplingFlags,
  type SamplingSettings,
  settingsOf,
} from "./sampling-options.ts";
import { bytes, filled, oneOf, seeds, whole } from "./values.ts";

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

const measured = ["inpaint", "outpaint", "uncrop"] as const satisfies readonly EditingTask[];

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
      new Option("--task <name>", "one task (default: all three)").choices(measured).argParser(oneOf(measured)),
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

/** One task with one ring. */
interface Row {
  task: EditingTask;
  ring: number;
  /** Share of the pixels that are drawn. */
  drawn: number;
  /** Across the border against inside: of the filled images, and of the originals. */
  seam: { ratio: number; error: number };
  originalSeam: { ratio: number; error: number };
  /** Across the border, against the originals there. */
  toOriginal: { ratio: number; error: number };
  /** With a ring: the same across the border of the mask, which then lies inside of what is drawn. */
  atMask?: Pick<Row, "seam" | "originalSeam" | "toOriginal">;
  bits: Mean;
  originalBits: Mean;
}

async function editing(flags: EditingFlags): Promise<void> {
  const model = await findModel(flags.model);
  const { config } = model;
  const rows = plannedRows(flags, config);
  await withProgress({ quiet: flags.json }, async ({ progress, signal, closing }) => {
    const dataset = await openFor(config, flags, { progress, signal });
    checkDataset({ ...config, classes: dataset.classes }, dataset);
    if (dataset.heldOut.count < 2)
      throw new UserError(
        `${dataset.name} has ${dataset.heldOut.count} held-out images, at least 2 are needed; give --held-out`,
      );
    const withClasses = config.classes.join() === dataset.classes.join();
    const split = evenly(dataset.heldOut, flags.images);
    const settings = settingsOf(withClasses ? flags : { ...flags, guidance: 1 }, config);
    const engine = await openEngine(flags);
    const { sampler, batch } = openSampler(engine, model, { ...flags, ...settings, count: split.count });
    closing(sampler, () => sampler.dispose());
    const found: Row[] = [];
    for (const planned of rows) {
      const { seed } = flags;
      const context = { split, seed, settings, withClasses, batch, signal };
      found.push(
        await measure(engine, { model, sampler }, planned, {
          ...context,
          onProgress: (text) => progress.update(`${found.length} of ${rows.length} done; ${planned.task}: ${text}`),
        }),
      );
    }
    progress.clear();
    const described = {
      model: nameOf(model),
      data: dataset.name,
      images: split.count,
      classes: withClasses,
      exact: likelihoodOf(config) === "exact",
      seed: flags.seed,
      ...recordedSampling(settings),
    };
    console.log(flags.json ? JSON.stringify({ ...described, rows: found }) : table(described, found));
  });
}

interface Planned {
  task: EditingTask;
  ring: number;
  mask: Uint8Array;
  /** Without the ring. */
  asked: Uint8Array;
}

/** Every mask is made before any work: an AR model may not follow it, and then a task that was not asked for is left out. */
export function plannedRows(
  { task, extent, given, ring, json }: Pick<EditingFlags, "task" | "extent" | "given" | "ring" | "json">,
  config: ModelConfig,
): Planned[] {
  const { imageSize: size } = config;
  if (extent !== undefined && extent >= size)
    throw new UserError(`--extent: expected less than the image's ${size} pixels, got ${extent}`);
  const planned = (one: EditingTask): Planned[] => {
    const asked = taskMask(size, one, { extent, given: given ?? usuallyGiven(config) });
    return [0, ring].map((own) => ({ task: one, ring: own, asked, mask: drawnMask(config, asked, { ring: own }) }));
  };
  if (task) return planned(task);
  return measured.flatMap((one) => {
    try {
      return planned(one);
    } catch (error) {
      if (one === "outpaint" || !(error instanceof UserError)) throw error;
      if (!json) console.error(`${one} is left out: ${error.message}`);
      return [];
    }
  });
}

async function measure(
  engine: Engine,
  { model, sampler }: { model: ModelFolder; sampler: Sampler },
  { task, ring, mask, asked }: Planned,
  {
    split,
    seed,
    settings,
    withClasses,
    batch,
    signal,
    onProgress,
  }: {
    split: Split;
    seed: number;
    settings: SamplingSettings;
    withClasses: boolean;
    batch: number;
    signal: AbortSignal;
    onProgress: (text: string) => void;
  },
): Promise<Row> {
  const { config } = model;
  const { imageSize: size, channels } = config;
  const originals = imagesBetween(split, { from: 0, to: split.count });
  const labels = Array.from(split.labels, (label) => (withClasses ? label : config.classes.length));
  const masks = Buffer.concat(labels.map(() => mask));
  const known = { images: originals, mask: masks };
  const frames = sampler.sample({ labels, seed, known, ...settings, batch, signal });
  let filled: Uint8Array;
  for (;;) {
    const next = await frames.next();
    if (next.done) {
      filled = next.value;
      break;
    }
    onProgress(`drawing, ${(100 * next.value.done).toFixed(0)}%`);
  }

  const bitsOf = async (images: Split, what: string): Promise<Mean> => {
    const bits: number[] = [];
    const options = { inOrder: true, conditional: withClasses, seed, drawn: () => mask, signal };
    for await (const one of likelihoods(engine, externalModel(model), images, options)) {
      bits.push(one.bits);
      onProgress(`likelihood of ${what}, ${bits.length} of ${images.count}`);
    }
    return meanOf(bits);
  };
  const filledSplit = splitOf({ images: filled, labels: split.labels, names: split.names });
  const seams = (images: Split, at: Uint8Array) => {
    const all = Array.from({ length: images.count }, (_, i) => seamOf(images.image(i), at, { size, channels }));
    return { across: all.map(({ across }) => across), inside: all.map(({ inside }) => inside) };
  };
  const seamsAt = (at: Uint8Array) => {
    const [own, original] = [seams(filledSplit, at), seams(split, at)];
    return {
      seam: ratioOf(own.across, own.inside),
      originalSeam: ratioOf(original.across, original.inside),
      toOriginal: ratioOf(own.across, original.across),
    };
  };
  return {
    task,
    ring,
    drawn: mask.reduce((a, b) => a + b, 0) / mask.length,
    ...seamsAt(mask),
    atMask: ring > 0 ? seamsAt(asked) : undefined,
    bits: await bitsOf(filledSplit, "the filling"),
    originalBits: await bitsOf(split, "the original"),
  };
}

function table(
  {
    model,
    data,
    images,
    classes,
    exact,
    seed,
  }: { model: string; data: string; images: number; classes: boolean; exact: boolean; seed: number },
  rows: readonly Row[],
): string {
  const line = (...cells: string[]) =>
    `  ${cells.map((cell, i) => cell.padEnd([24, 8, 16, 16, 16, 18, 0][i])).join("")}`.trimEnd();
  const ratio = ({ ratio, error }: { ratio: number; error: number }) => `${ratio.toFixed(2)} ± ${error.toFixed(2)}`;
  const bits = ({ bits, error }: Mean) => `${bits.toFixed(3)} ± ${error.toFixed(3)}`;
  return [
    `${model}: ${images} held-out images of ${data} edited ${classes ? "with their classes" : "without a class"}, seed ${seed}`,
    line("", "drawn", "seam", "original's", "to original's", "bits per dim", "original's"),
    ...rows.flatMap((row) => [
      line(
        row.ring === 0 ? row.task : `${row.task}, ring of ${row.ring}`,
        `${(100 * row.drawn).toFixed(0)}%`,
        ratio(row.seam),
        ratio(row.originalSeam),
        ratio(row.toOriginal),
        bits(row.bits),
        bits(row.originalBits),
      ),
      ...(row.atMask
        ? [
            line(
              "  at the mask's border",
              "",
              ratio(row.atMask.seam),
              ratio(row.atMask.originalSeam),
              ratio(row.atMask.toOriginal),
            ),
          ]
        : []),
    ]),
    "seam: mean difference of neighbours across the border of what is drawn, by that inside; to original's: across it, by the original's there",
    `bits: of what is drawn, given what is kept${exact ? "" : ": in one random order, what is kept first, patch by patch"}`,
  ].join("\n");
}
