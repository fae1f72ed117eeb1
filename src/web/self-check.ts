/** Checks that an engine agrees with a reference by running every graph of a small drawing on both. */

import { placedLevels } from "../config/model.ts";
import type { TypedArray } from "../core/arrays.ts";
import type { Engine, Session } from "../engine/engine.ts";
import { edit } from "../sample/edit.ts";
import { rectangleMask } from "../sample/masks.ts";
import { createSampler, type SampledModel } from "../sample/sampler.ts";

/** The largest allowed relative difference and fraction of differing bytes; rounding errors are far smaller. */
const most = {
  float32: { difference: 5e-3, bytes: 0.05 },
  float16: { difference: 0.1, bytes: 0.2 },
};

export interface Agreement {
  agrees: boolean;
  /** Largest difference in any output, relative to the largest value in it. */
  difference: number;
  /** Bytes drawn, and how many of them differed. */
  bytes: number;
  differentBytes: number;
}

/** Draws one first-level patch with one step per level. Both engines run every graph on the reference's inputs. */
export async function selfCheck(reference: Engine, other: Engine, model: SampledModel): Promise<Agreement> {
  const found: Agreement = { agrees: true, difference: 0, bytes: 0, differentBytes: 0 };
  const sampler = createSampler(observed(reference, other, found), model);
  try {
    const { imageSize: size, channels, levels } = model.config;
    const iterations = levels.slice(1).map(() => 1);
    const [{ patch }] = placedLevels(model.config);
    const corner = size - patch; // the last patch, which any generation order can draw given all others
    const mask = rectangleMask(size, { x: corner, y: corner, width: patch, height: patch });
    const frames = edit(sampler, new Uint8Array(size * size * channels), mask, { labels: [0], seed: 0, iterations });
    for (let next = await frames.next(); !next.done;) next = await frames.next();
  } finally {
    await sampler.dispose();
  }
  const { difference, bytes } = most[other.precision ?? "float32"];
  found.agrees = found.difference <= difference && found.differentBytes <= bytes * found.bytes;
  return found;
}

/** An engine that returns the reference's results and records in `found` how the other's differ. */
function observed(reference: Engine, other: Engine, found: Agreement): Engine {
  return {
    provider: reference.provider,
    async session(model, options): Promise<Session> {
      const [one, two] = [await reference.session(model, options), await other.session(model, options)];
      return {
        inputs: one.inputs,
        runKept: one.runKept,
        async run(feeds) {
          const expected = await one.run(feeds);
          const got = await two.run(feeds);
          for (const [name, { dtype, data }] of Object.entries(expected))
            if (dtype === "float32") found.difference = Math.max(found.difference, relative(data, got[name].data));
            else {
              found.bytes += data.length;
              for (let i = 0; i < data.length; i++) if (data[i] !== got[name].data[i]) found.differentBytes++;
            }
          return expected;
        },
        async dispose() {
          await one.dispose();
          await two.dispose();
        },
      };
    },
  };
}

/** Returns Infinity if the lengths differ or the difference is not a number. */
function relative(expected: TypedArray, got: TypedArray): number {
  let [difference, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs(Number(expected[i]) - Number(got[i]));
    if (Number.isNaN(distance)) return Infinity;
    difference = Math.max(difference, distance);
    largest = Math.max(largest, Math.abs(Number(expected[i])));
  }
  return got.length === expected.length ? difference / (largest || 1) : Infinity;
}
