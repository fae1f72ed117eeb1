/** Likelihoods of a data set's images one by one, kept in a file from which an interrupted measure goes on. */

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

/** What `measureLikelihood` measures, and where it writes. */
export interface LikelihoodMeasure extends Omit<LikelihoodOptions, "breakdown" | "from"> {
  dataset: Dataset;
  /** A part of it, or some of a part. */
  split: Split;
  /** A file that gets a line for each image, after those of `scored`. */
  perImage?: string;
  /** Is added up, for a chart. */
  total?: Breakdown;
  /** Images that were scored before; new ones are appended. */
  scored: Scored[];
}

/** Scores the images after those in `scored`, and gives that list after each. */
export async function* measureLikelihood(
  engine: Engine,
  model: MeasuredModel,
  { dataset, split, perImage, total, scored, ...options }: LikelihoodMeasure,
): AsyncGenerator<readonly Scored[]> {
  const from = scored.length;
  for await (const one of likelihoods(engine, model, split, { ...options, breakdown: total !== undefined, from })) {
    if (total) addBreakdown(total, one.breakdown!);
    const line = lineOf(one, { dataset, split });
    if (perImage !== undefined) await appendLine(perImage, JSON.stringify(line));
    scored.push(line);
    yield scored;
  }
}

/** At most so many images of a part, evenly spaced. UserError where there are too few for a mean with its error. */
export function likelihoodSplit(
  dataset: Dataset,
  { part, images }: { part: "train" | "held-out"; images?: number },
): Split {
  const split = part === "train" ? dataset.train : dataset.heldOut;
  if (split.count < 2)
    throw new UserError({
      problem: `the ${part} part of ${dataset.name} has ${counted(split.count, "image")}, and a mean with its error needs at least 2`,
      hint: [
        { do: "hold out more images", setting: "heldOut" },
        { do: "take those trained on", setting: "part", value: "train" },
      ],
    });
  return images === undefined ? split : evenly(split, images);
}

const lineOf = (
  { index, label, bits, channels, guiding }: ImageLikelihood,
  { dataset, split }: { dataset: Dataset; split: Split },
): Scored => ({ name: split.names[index], class: dataset.classes[label], bits, channels, guiding });

/** What an interrupted run with the same settings wrote; begins the file where there is none. */
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
      problem: `${path} was written for another model, other data or other options`,
      hint: "give another name, or the options of then to go on",
    });
  // A kill can leave half a line.
  const whole = lines.slice(0, -1);
  if (!text.endsWith("\n")) await writeFileAtomic(path, [first, ...whole, ""].join("\n"));
  return whole.map((line) => JSON.parse(line) as Scored);
}
