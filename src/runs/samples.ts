/** The grid of samples that a training run draws at each checkpoint: the same seed every time, so that one sees it learn. */

import type { Engine } from "../engine/engine.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder } from "../files/model.ts";
import { gridPng } from "../pictures/grid.ts";
import { createSampler } from "../sample/sampler.ts";

const most = 16;

/**
 * A labelled grid as PNG, from a model folder: an image of each class in turn, 16 in all, with the model's own settings.
 * Nothing where the signal stops it.
 */
export async function sampleGrid(
  engine: Engine,
  folder: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Uint8Array | undefined> {
  const model = readModelFolder(folder);
  const { classes, imageSize: size, channels } = model.config;
  // Many classes: some from all over the list.
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
