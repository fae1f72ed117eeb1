/**
 * Settings that truncate distributions, in whole images: off, at their extremes, per level and per channel, including
 * guiding pixels.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SamplingFlags, samplingNames, samplingSetting } from "../config/sampling.ts";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { readCase } from "../parity/case.ts";
import { firstOf } from "../test-depth.ts";
import { type Draws, seededDraws } from "./draws.ts";
import { createSampler, type Sampler } from "./sampler.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-cuts-"));
let sampler: Sampler;
beforeAll(async () => {
  const path = fileURLToPath(new URL("../../fixtures/parity/mar-4level-guided", import.meta.url));
  const { config, weights } = await readCase(path);
  await writeModelFolder(folder, config, weights);
  sampler = createSampler(await nodeEngine({ threads: 1 }), externalModel(readModelFolder(folder)));
});
afterAll(async () => {
  await sampler.dispose();
  rmSync(folder, { recursive: true });
});

async function imageOf(settings: SamplingFlags & { draws?: Draws }): Promise<Buffer> {
  // Sharp, so that colours depend on the levels above.
  const frames = sampler.sample({ labels: [1, 2, 0, 3], seed: 4, iterations: [5, 2, 3], temperature: 40, ...settings });
  let next = await frames.next();
  while (!next.done) next = await frames.next();
  return Buffer.from(next.value);
}

const withUniforms = (uniform: number): Draws => ({
  ...seededDraws,
  uniforms: ({ keys }, channels) => new Float32Array(keys.length * channels).fill(uniform),
});

/** Values at which only the likeliest bytes remain. */
const extreme = { minP: 1, topP: 1e-6 };

it("covers every such setting", () => {
  const cuts = samplingNames.filter((name) => samplingSetting(name).changes === "cut");
  expect(Object.keys(extreme).sort()).toEqual([...cuts].sort());
});

describe.each(firstOf(Object.entries(extreme)))("%s", (name, most) => {
  const off = samplingSetting(name as keyof typeof extreme).usual as number;

  it.each(firstOf([2.5, 1]))(
    "is off by default and leaves only the likeliest bytes at its extreme (guidance %d)",
    async (guidance) => {
      const plain = await imageOf({ guidance });
      expect((await imageOf({ guidance, [name]: off })).equals(plain)).toBe(true);
      const likeliest = await imageOf({ guidance, [name]: most });
      expect(likeliest.equals(plain)).toBe(false);
      for (const uniform of firstOf([0, 0.999, 0.5], 2))
        expect((await imageOf({ guidance, [name]: most, draws: withUniforms(uniform) })).equals(likeliest)).toBe(true);
      expect((await imageOf({ guidance, temperature: [[40, 40, 40]], [name]: [most] })).equals(likeliest)).toBe(true);
    },
  );

  it("acts on guiding pixels and on pixels, each with its own value, and on each channel", async () => {
    const lists = [[most, off, off], [off, most, off], [off, off, most], [most, most, most], [[most, off, off]], [[off, off, most]]]; // prettier-ignore
    const images = await Promise.all([imageOf({}), ...lists.map((list) => imageOf({ [name]: list }))]);
    expect(new Set(images.map((image) => image.toString("base64"))).size).toBe(images.length);
    expect((await imageOf({ [name]: most })).equals(images[4])).toBe(true);
  });

  it("rejects a list that does not fit the model", async () => {
    await expect(imageOf({ [name]: [off, most] })).rejects.toThrow(
      `${name}: expected one number or 3, one for each of the model's levels that draw colours (2, 3, 4), got 2`,
    );
  });
});
