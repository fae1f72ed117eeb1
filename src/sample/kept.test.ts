/** Sampling on a device that keeps the state of AR levels in its own memory from step to step. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { Engine } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { readCase } from "../parity/case.ts";
import { createSampler, type SampleOptions, type Sampler, type WatchedPixels } from "./sampler.ts";
import { firstOf } from "../test-depth.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-kept-"));
afterAll(() => rmSync(folder, { recursive: true }));

const engine = await nodeEngine({ threads: 1 });

/** Watched pixels and frames in their order, each with a copy of the images; the images at the end; all probabilities. */
async function framesOf(sampler: Sampler, options: SampleOptions): Promise<{ found: unknown[]; probable: number[] }> {
  const found: unknown[] = [];
  const probable: number[] = [];
  const watch = ({ probabilities, ...pixels }: WatchedPixels) => {
    found.push(pixels);
    for (const one of probabilities) probable.push(one);
  };
  const frames = sampler.sample({ ...options, watch: options.watch && watch });
  let next = await frames.next();
  for (; !next.done; next = await frames.next()) found.push({ ...next.value, images: next.value.images.slice() });
  return { found: [...found, next.value], probable };
}

async function imagesOf(sampler: Sampler, options: SampleOptions): Promise<Uint8Array> {
  const frames = sampler.sample(options);
  let next = await frames.next();
  while (!next.done) next = await frames.next();
  return next.value;
}

describe("a device with memory of its own", () => {
  /** The CPU in place of a GPU: it runs the same graphs and keeps the same tensors, which are counted here. */
  function counting(): { device: Engine; alive: Set<object>; most: () => number; runs: () => number } {
    let runs = 0;
    const alive = new Set<object>();
    let most = 0;
    const device: Engine = {
      provider: "webgpu",
      async session(model, options) {
        const session = await engine.session(model, options);
        return {
          ...session,
          run(feeds) {
            runs++;
            return session.run(feeds);
          },
          async runKept(feeds) {
            runs++;
            for (const value of Object.values(feeds)) if ("held" in value) expect(alive).toContain(value.held);
            const { outputs, kept } = await session.runKept(feeds);
            const counted = Object.entries(kept).map(([name, one]) => {
              alive.add(one.held as object);
              return [name, { ...one, dispose: () => alive.delete(one.held as object) }];
            });
            most = Math.max(most, alive.size);
            return { outputs, kept: Object.fromEntries(counted) };
          },
        };
      },
    };
    return { device, alive, most: () => most, runs: () => runs };
  }

  it("keeps the keys and values of AR levels, draws the same bytes and frees everything, also when stopped", async () => {
    const recorded = await readCase(fileURLToPath(new URL("../../fixtures/parity/ar-3level", import.meta.url)));
    await writeModelFolder(folder, recorded.config, recorded.weights);
    const model = externalModel(readModelFolder(folder));
    const { device, alive, most } = counting();
    const [usual, kept] = [createSampler(engine, model), createSampler(device, model)];
    const options = { labels: [1, 0, 1], seed: 11, guidance: 2.5, iterations: [16, 16], batch: 2 };
    expect(await imagesOf(kept, options)).toEqual(await imagesOf(usual, options));
    const blocks = recorded.config.levels
      .slice(0, 2)
      .reduce((sum, level) => sum + (level as { depth: number }).depth, 0);
    // Of one batch: those of both levels, and for a moment the next ones of one level.
    expect(most()).toBeGreaterThan(2 * blocks);
    expect(most()).toBeLessThanOrEqual(4 * blocks);
    expect(alive.size).toBe(0);
    const frames = kept.sample(options);
    await frames.next();
    expect(alive.size).toBeGreaterThan(0);
    await frames.return(new Uint8Array());
    expect(alive.size).toBe(0);
    await Promise.all([usual.dispose(), kept.dispose()]);
  });

  const all: Omit<SampleOptions, "labels"> = { seed: 5, batch: 2, iterations: [2, 16, 16] };
  const cases: [string, Omit<SampleOptions, "labels">, number | undefined][] = [
    // Of two batches: begin of each level, a step of the first, and 4 steps of 16 patches inside in one run.
    ["ar-3level", { ...all, guidance: 1, watch: () => {} }, 2 * (1 + 16 * (1 + 1 + 4))],
    ["mar-3level", { ...all, guidance: 2, temperature: 0.9, iterations: [2, 6, 6] }, 2 * (1 + 2 * (1 + 1 + 2))],
    ["ar-3level", { ...all, guidance: 3, topP: 0.9, minP: [[0.001, 0.01, 0.02]] }, 2 * (1 + 16 * (1 + 1 + 4))],
    ["mar-3level", { ...all, guidance: 1 }, 2 * (1 + 2 * (1 + 1 + 4))],
    // With guiding pixels there are also runs that draw them, and a middle level.
    ["mar-4level-guided", { ...all, guidance: 1.5 }, undefined],
  ];
  it.each(firstOf(cases, 2))(
    "draws the pixels of four steps of %s in one run, with the same frames (%j)",
    async (name, settings, expected) => {
      const { config, weights } = await readCase(
        fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url)),
      );
      await writeModelFolder(folder, config, weights);
      const model = externalModel(readModelFolder(folder));
      const { device, alive, runs } = counting();
      const [usual, kept] = [createSampler(engine, model), createSampler(device, model)];
      const options = {
        ...settings,
        labels: [0, 1, 1],
        iterations: settings.iterations!.slice(0, config.levels.length - 1),
      };
      const [own, reference] = [await framesOf(kept, options), await framesOf(usual, options)];
      expect(own.found).toEqual(reference.found);
      expect(own.probable.length).toBe(reference.probable.length);
      // Graphs for a device are written with other operators.
      const differences = own.probable.map((p, i) => Math.abs(p - reference.probable[i]));
      expect(differences.reduce((a, b) => Math.max(a, b), 0)).toBeLessThan(1e-5);
      expect(reference.probable.length > 0).toBe(settings.watch !== undefined);
      if (expected) expect(runs()).toBe(expected);
      expect(alive.size).toBe(0);
      await Promise.all([usual.dispose(), kept.dispose()]);
    },
  );
});
