/** How well the drawn part of an edited image fits the rest: seams across its border, and its likelihood given the kept pixels. */

import type { ModelConfig } from "../config/model.ts";
import type { SamplingSettings } from "../config/sampling.ts";
import { UserError } from "../core/errors.ts";
import { type Dataset, evenly, imagesBetween, type Split, splitOf } from "../data/dataset.ts";
import { checkDataset } from "../data/fits.ts";
import type { Engine } from "../engine/engine.ts";
import { likelihoods } from "../evaluate/likelihood.ts";
import { ratioOf, seamOf } from "../evaluate/seam.ts";
import { type Mean, meanOf } from "../evaluate/summary.ts";
import { externalModel } from "../files/external.ts";
import type { ModelFolder } from "../files/model.ts";
import { drawnMask } from "../sample/edit.ts";
import { usuallyGiven } from "../sample/known.ts";
import { type EditingTask, type Side, taskMask } from "../sample/masks.ts";
import type { Sampler } from "../sample/sampler.ts";

export const measuredTasks = ["inpaint", "outpaint", "uncrop"] as const satisfies readonly EditingTask[];

/** One task with one ring. */
export interface EditingRow {
  task: EditingTask;
  ring: number;
  /** Fraction of the pixels that are drawn. */
  drawn: number;
  /** Differences of neighbouring pixels across the border over those inside, for the filled images and for the originals. */
  seam: { ratio: number; error: number };
  originalSeam: { ratio: number; error: number };
  /** Differences across the border over those of the originals at the same place. */
  toOriginal: { ratio: number; error: number };
  /** With a ring: the same at the border of the mask, which then lies inside the drawn part. */
  atMask?: Pick<EditingRow, "seam" | "originalSeam" | "toOriginal">;
  bits: Mean;
  originalBits: Mean;
}

/** The edit to measure, as a caller chooses it. */
export interface EditingChoice {
  /** One task; by default all three. */
  task?: EditingTask;
  /** Side length of the hole or of the kept centre, in pixels. */
  extent?: number;
  /** For outpainting: the half that is given. */
  given?: Side;
  /** Width of the ring around the mask, in patches of the first level; measured next to a ring of 0. */
  ring: number;
  /** Called with the reason when a task that was not requested is left out. */
  onLeftOut?: (task: EditingTask, reason: UserError) => void;
}

/** An edit of one model: the pixels to redraw and its settings. */
export interface PlannedEdit {
  task: EditingTask;
  ring: number;
  mask: Uint8Array;
  /** The mask without the ring. */
  asked: Uint8Array;
}

/**
 * Makes every mask before any work starts. AR models cannot follow all masks: the tasks they cannot do are left out, or are a
 * UserError if requested.
 */
export function plannedRows(
  { task, extent, given, ring, onLeftOut }: EditingChoice,
  config: ModelConfig,
): PlannedEdit[] {
  const { imageSize: size } = config;
  if (extent !== undefined && extent >= size)
    throw new UserError({
      subject: { setting: "extent" },
      expected: `less than the image's ${size} pixels`,
      got: String(extent),
    });
  const planned = (one: EditingTask): PlannedEdit[] => {
    const asked = taskMask(size, one, { extent, given: given ?? usuallyGiven(config) });
    return [0, ring].map((own) => ({ task: one, ring: own, asked, mask: drawnMask(config, asked, { ring: own }) }));
  };
  if (task) return planned(task);
  return measuredTasks.flatMap((one) => {
    try {
      return planned(one);
    } catch (error) {
      if (one === "outpaint" || !(error instanceof UserError)) throw error;
      onLeftOut?.(one, error);
      return [];
    }
  });
}

/** Held-out images to edit, evenly spaced, and whether their classes are the model's. UserError if they do not fit the model. */
export function editingImages(
  config: ModelConfig,
  dataset: Dataset,
  count: number,
): { split: Split; withClasses: boolean } {
  const { name, classes, heldOut } = dataset;
  checkDataset({ ...config, classes }, dataset);
  if (heldOut.count < 2)
    throw new UserError({
      problem: `${name} has ${heldOut.count} held-out images, but at least 2 are needed`,
      hint: { do: "hold out more", setting: "heldOut" },
    });
  return { split: evenly(heldOut, count), withClasses: config.classes.join() === classes.join() };
}

/** The options of `measureEditing`. */
export interface EditingMeasure {
  model: ModelFolder;
  sampler: Sampler;
  /** Held-out images. */
  split: Split;
  seed: number;
  settings: SamplingSettings;
  /** Whether to draw with the images' own classes; these must then be the model's. */
  withClasses: boolean;
  batch: number;
  /** Called with one line of progress. */
  onProgress?: (text: string) => void;
  signal?: AbortSignal;
}

/** Redraws the same mask in all images of a split, and measures the seams and the bits of the drawn part. */
export async function measureEditing(
  engine: Engine,
  { task, ring, mask, asked }: PlannedEdit,
  { model, sampler, split, seed, settings, withClasses, batch, signal, onProgress }: EditingMeasure,
): Promise<EditingRow> {
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
    onProgress?.(`drawing, ${(100 * next.value.done).toFixed(0)}%`);
  }

  const bitsOf = async (images: Split, what: string): Promise<Mean> => {
    const bits: number[] = [];
    const options = { inOrder: true, conditional: withClasses, seed, drawn: () => mask, signal };
    for await (const one of likelihoods(engine, externalModel(model), images, options)) {
      bits.push(one.bits);
      onProgress?.(`likelihood of ${what}, ${bits.length} of ${images.count}`);
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
