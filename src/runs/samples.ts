/** The grid of samples that a training run draws at each checkpoint: always with the same seed, so that progress is visible. */

import type { Engine } from "../engine/engine.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder } from "../files/model.ts";
import { gridPng } from "../pictures/grid.ts";
import { createSampler } from "../sample/sampler.ts";

const most = 16;

/**
 * Draws a labelled grid of 16 images, cycling through the classes, with the model's own settings. Returns a PNG, or undefined
 * if the signal stops it.
 */
export async function sampleGrid(
  engine: Engine,
  folder: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Uint8Array | undefined> {
  const model = readModelFolder(folder);
  const { classes, imageSize: size, channels } = model.config;
  // With more classes than images, take evenly spaced ones.
  const labels = Array.from({ length: most }, (_, i) =>
    classes.length > most ? Math.floor((i * classes.length) / most) : i % classes.length,
  );
  const sampler = createSampler(engine, externalModel(model));
  try {
    const frames = sampler.sample({ labels, seed: 0, signal });
    for (;;) {
      const { done, value } = await frames.next();
      if (done) return await gridPng(value, { count: most, size, channels, labels: labels.map((i) => classes[i]) });
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
    return undefined;
  } finally {
    await sampler.dispose();
  }
}
