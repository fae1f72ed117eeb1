/** Replays the recorded draws of a case's samples; every byte must match. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine } from "../engine/engine.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import type { Draws } from "../sample/draws.ts";
import { createSampler } from "../sample/sampler.ts";
import type { ParityCase } from "./case.ts";
import { type Comparison, within } from "./compare.ts";

export async function compareSamples(engine: Engine, recorded: ParityCase): Promise<Comparison[]> {
  const folder = await mkdtemp(join(tmpdir(), "fractalgen-parity-"));
  const results: Comparison[] = [];
  try {
    await writeModelFolder(folder, recorded.config, recorded.weights);
    const sampler = createSampler(engine, externalModel(readModelFolder(folder)));
    for (const [name, settings] of Object.entries(recorded.samples)) {
      const frames = sampler.sample({
        labels: settings.labels,
        guidance: settings.guidance,
        schedule: settings.schedule,
        temperature: settings.temperature,
        filterThreshold: settings.filter_threshold,
        iterations: settings.iterations,
        batch: settings.labels.length,
        draws: recordedDraws(recorded, name),
      });
      let next = await frames.next();
      while (!next.done) next = await frames.next();
      results.push(within(`${name}.u8`, next.value, recorded.expected(`${name}.u8`).data as Uint8Array, 0));
    }
    await sampler.dispose();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return results;
}

/** Replays draws in their recorded order: kind 0 is a uniform for each row, kind 1 an order of patches for each row. */
export function recordedDraws({ expected, has }: ParityCase, name: string): Draws {
  const kinds = expected(`${name}.draw_kind`).data;
  const sizes = expected(`${name}.draw_size`).data;
  const uniforms = expected(`${name}.uniforms`).data as Float32Array;
  const orders = has(`${name}.orders`) ? (expected(`${name}.orders`).data as ArrayLike<number>) : [];
  let draw = 0;
  let uniformAt = 0;
  let orderAt = 0;
  const take = (kind: number, rows: number) => {
    if (kinds[draw] !== kind || sizes[draw] !== rows)
      throw new Error(
        `${name}: draw ${draw} was recorded as kind ${kinds[draw]} for ${sizes[draw]} rows, now kind ${kind} for ${rows}`,
      );
    draw++;
  };
  return {
    uniforms({ keys }, channels) {
      const values = new Float32Array(keys.length * channels);
      for (let c = 0; c < channels; c++) {
        take(0, keys.length);
        for (let row = 0; row < keys.length; row++) values[row * channels + c] = uniforms[uniformAt++];
      }
      return values;
    },
    orders({ keys }, tokens) {
      take(1, keys.length);
      return Int32Array.from({ length: keys.length * tokens }, () => orders[orderAt++]);
    },
  };
}
