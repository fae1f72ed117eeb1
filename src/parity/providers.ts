/**
 * `providers.ts PROVIDER FOLDER SAMPLE=SHARE ...` replays the beginning of recorded samples on a provider and prints a
 * Replay as JSON. It is a separate program because the environment at the start of a process selects the GPU driver.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { createSampler } from "../sample/sampler.ts";
import { type ParityCase, readCase } from "./case.ts";
import { type Placement, placement } from "./placement.ts";
import { recordedDraws } from "./samples.ts";

export interface Replay extends Placement {
  provider: Provider;
  /** Why it is not the requested provider; nothing was sampled then. */
  fallback?: string;
  /** By sample: the number of values drawn, and how many of them differ from the recorded ones. */
  samples: Record<string, { drawn: number; different: number }>;
}

async function replay(provider: Provider, folder: string, shares: string[]): Promise<Replay> {
  const recorded = await readCase(folder);
  const scratch = mkdtempSync(join(tmpdir(), "fractalgen-replay-"));
  try {
    const engine = await nodeEngine({ provider, profile: join(scratch, "profile") });
    const samples: Replay["samples"] = {};
    if (engine.fallback)
      return { provider: engine.provider, fallback: engine.fallback, samples, nodes: {}, elsewhere: [] };
    await writeModelFolder(scratch, recorded.config, recorded.weights);
    const sampler = createSampler(engine, externalModel(readModelFolder(scratch)));
    for (const part of shares) {
      const [name, share] = part.split("=");
      samples[name] = await begin(sampler, recorded, { name, share: Number(share) });
    }
    await sampler.dispose(); // closes the profiles
    return { provider: engine.provider, samples, ...placement(engine, scratch) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Samples until a share of all pixels has been drawn, and compares these with the recorded ones. */
async function begin(
  sampler: ReturnType<typeof createSampler>,
  recorded: ParityCase,
  { name, share }: { name: string; share: number },
): Promise<{ drawn: number; different: number }> {
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

const [provider, folder, ...shares] = process.argv.slice(2);
console.log(JSON.stringify(await replay(provider as Provider, folder, shares)));
