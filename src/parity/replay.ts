/** Replays the beginning of a recorded sample, for devices on which a whole one takes too long. */

import type { Sampler } from "../sample/sampler.ts";
import type { ParityCase } from "./case.ts";
import { recordedDraws } from "./samples.ts";

export interface Replayed {
  /** The number of values drawn, and how many of them differ from the recorded ones. */
  drawn: number;
  different: number;
}

/** Samples until a share of all pixels has been drawn, and compares these with the recorded ones. */
export async function replayed(
  sampler: Sampler,
  recorded: ParityCase,
  { name, share }: { name: string; share: number },
): Promise<Replayed> {
  const { imageSize, channels } = recorded.config;
  const {
    filter_threshold: filterThreshold,
    labels,
    guidance,
    schedule,
    temperature,
    iterations,
  } = recorded.samples[name];
  const expected = recorded.expected(`${name}.u8`).data;
  const settings = { labels, guidance, schedule, temperature, filterThreshold, iterations, batch: labels.length };
  let drawn = 0;
  let different = 0;
  for await (const { finished, images, done } of sampler.sample({
    ...settings,
    draws: recordedDraws(recorded, name),
  })) {
    const { image, x, y, side } = finished;
    if (side === 1)
      for (let i = 0; i < image.length; i++) {
        const at = ((image[i] * imageSize + y[i]) * imageSize + x[i]) * channels;
        for (let c = 0; c < channels; c++) if (images[at + c] !== expected[at + c]) different++;
        drawn += channels;
      }
    if (done >= share) break;
  }
  return { drawn, different };
}
