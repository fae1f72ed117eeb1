/**
 * `provider-training.ts PROVIDER KIND STEPS [PRECISION]` trains a small model on a provider and prints a Trained as JSON. It is a
 * separate program because the environment at the start of a process selects the GPU driver.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Provider } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import type { Precision } from "../graph/form.ts";
import { type Placement, placement } from "./placement.ts";
import { type ShortTraining, shortTraining } from "./short-training.ts";

export interface Trained extends Placement, ShortTraining {
  provider: Provider;
  /** Why it is not the requested provider; nothing was trained then. */
  fallback?: string;
}

async function trained(
  provider: Provider,
  kind: string,
  { steps, precision }: { steps: number; precision?: Precision },
): Promise<Trained> {
  const scratch = mkdtempSync(join(tmpdir(), "fractalgen-trained-"));
  try {
    const engine = await nodeEngine({ provider, precision, threads: 1, profile: join(scratch, "profile") });
    const { fallback } = engine;
    const nothing = { losses: [], norms: [], weights: {}, nodes: {}, elsewhere: [] };
    if (fallback) return { provider: engine.provider, fallback, ...nothing };
    const result = await shortTraining(engine, kind, steps);
    return { provider: engine.provider, ...result, ...placement(engine, scratch) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const [provider, kind, steps, precision] = process.argv.slice(2);
const options = { steps: Number(steps), precision: precision as Precision };
console.log(JSON.stringify(await trained(provider as Provider, kind, options)));
