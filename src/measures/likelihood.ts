/** Likelihoods of a data set's images, appended to a file from which an interrupted measure resumes. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { type Dataset, evenly, type Split } from "../data/dataset.ts";
import type { Engine } from "../engine/engine.ts";
import { addBreakdown, type Breakdown } from "../evaluate/breakdown.ts";
import {
  type ImageLikelihood,
  type MeasuredModel,
  type LikelihoodOptions,
  likelihoods,
} from "../evaluate/likelihood.ts";
import type { Scored } from "../evaluate/summary.ts";
import { appendLine, writeFileAtomic } from "../files/atomic.ts";

/** The options of `measureLikelihood`. */
export interface LikelihoodMeasure extends Omit<LikelihoodOptions, "breakdown" | "from"> {
  dataset: Dataset;
  /** The images to score. */
  split: Split;
  /** A JSONL file to append a line to for each image. */
  perImage?: string;
  /** Sums over all images, for a chart; updated in place. */
  total?: Breakdown;
  /** Images that were scored before; new ones are appended. */
  scored: Scored[];
  /** Scores the images from an index on, elsewhere than on this engine. */
  score?: (options: LikelihoodOptions) => AsyncGenerator<Omit<ImageLikelihood, "map">>;
}

/** Scores the images after those in `scored`, appends each to it, and yields the list after each. */
export async function* measureLikelihood(
  engine: Engine,
  model: MeasuredModel,
  { dataset, split, perImage, total, scored, score, ...options }: LikelihoodMeasure,
): AsyncGenerator<readonly Scored[]> {
  const from = scored.length;
  const asked = { ...options, breakdown: total !== undefined, from };
  for await (const one of score?.(asked) ?? likelihoods(engine, model, split, asked)) {
    if (total) addBreakdown(total, one.breakdown!);
    const line = lineOf(one, { dataset, split });
    if (perImage !== undefined) await appendLine(perImage, JSON.stringify(line));
    scored.push(line);
    yield scored;
  }
}

/** At most `images` images of a part, evenly spaced. UserError if there are too few for a mean with its error. */
export function likelihoodSplit(
  dataset: Dataset,
  { part, images }: { part: "train" | "held-out"; images?: number },
): Split {
  const split = part === "train" ? dataset.train : dataset.heldOut;
  if (split.count < 2)
    throw new UserError({
      problem: `the ${part} part of ${dataset.name} has ${counted(split.count, "image")}, but a mean with its error needs at least 2`,
      hint: [
        { do: "hold out more images", setting: "heldOut" },
        { do: "use the training images", setting: "part", value: "train" },
      ],
    });
  return images === undefined ? split : evenly(split, images);
}

const lineOf = (
  { index, label, bits, channels, guiding }: Omit<ImageLikelihood, "map">,
  { dataset, split }: { dataset: Dataset; split: Split },
): Scored => ({ name: split.names[index], class: dataset.classes[label], bits, channels, guiding });

/** The lines that an interrupted run with the same settings wrote. Creates the file if there is none. */
export async function linesBefore(path: string, settings: object): Promise<Scored[]> {
  const head = JSON.stringify(settings);
  if (!existsSync(path)) {
    await writeFileAtomic(path, `${head}\n`);
    return [];
  }
  const text = await readFile(path, "utf8");
  const [first, ...lines] = text.split("\n");
  if (first !== head)
    throw new UserError({
      subject: { setting: "perImage" },
      problem: `${path} was written with a different model, data or options`,
      hint: "choose another file, or repeat the original options to resume",
    });
  // A killed process can leave half a line.
  const whole = lines.slice(0, -1);
  if (!text.endsWith("\n")) await writeFileAtomic(path, [first, ...whole, ""].join("\n"));
  return whole.map((line) => JSON.parse(line) as Scored);
}
