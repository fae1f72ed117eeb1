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
import { readCase } from "./case.ts";
import { type Placement, placement } from "./placement.ts";
import { type Replayed, replayed } from "./replay.ts";

export interface Replay extends Placement {
  provider: Provider;
  /** Why it is not the requested provider; nothing was sampled then. */
  fallback?: string;
  /** By sample. */
  samples: Record<string, Replayed>;
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
      samples[name] = await replayed(sampler, recorded, { name, share: Number(share) });
    }
    await sampler.dispose(); // closes the profiles
    return { provider: engine.provider, samples, ...placement(engine, scratch) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const [provider, folder, ...shares] = process.argv.slice(2);
console.log(JSON.stringify(await replay(provider as Provider, folder, shares)));
