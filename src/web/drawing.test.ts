/** A drawing as step records, from a real model with random weights: the order of images and their probabilities. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import { type TestModels, testModels } from "../server/test-models.ts";
import { drawing, expectations } from "./drawing.ts";
import { addStep, newRecording, type Recording } from "./recording.ts";
import { chanceInWords, pathTo } from "./recursion.ts";
import { tourSteps } from "./tour-steps.ts";
import { settingsOf } from "../sample/settings.ts";

let models: TestModels;
let sampler: Sampler;
beforeAll(async () => {
  models = await testModels();
  sampler = createSampler(await nodeEngine(), externalModel(models.tiny.folder));
});
afterAll(async () => {
  await sampler?.dispose();
  models?.remove();
});

async function record(first?: number): Promise<{ recording: Recording; lives: number[]; dones: number[] }> {
  const { config } = sampler;
  const recording = newRecording({ count: 3, size: 8, channels: 3, patches: [4, 1] });
  const request = { ...settingsOf({}, config), labels: [0, 1, 0], seed: 4, first };
  const [lives, dones]: [number[], number[]] = [[], []];
  const expected = expectations(config, 3);
  for await (const { step, done } of drawing(sampler, request, { signal: new AbortController().signal, expected })) {
    addStep(recording, step);
    lives.push(recording.live);
    dones.push(done);
  }
  return { recording, lives, dones };
}

it("draws the same images in the same steps if one comes first, and completes that one before the others begin", async () => {
  const [together, apart] = [await record(), await record(1)];
  const { length } = together.recording.steps;
  expect(apart.recording.images).toEqual(together.recording.images);
  expect(apart.recording.from).toEqual(together.recording.from);
  expect(apart.recording.bits).toEqual(together.recording.bits);
  expect(apart.recording.steps.length).toBe(length);
  const squares = ({ steps }: Recording) =>
    steps.map(({ level, step, steps, image, x, y }) => [
      level,
      step,
      steps,
      [...image].map((of, i) => `${of},${x[i]},${y[i]}`).sort(),
    ]);
  expect(squares(apart.recording)).toEqual(squares(together.recording));
  expect(apart.lives).toEqual([...together.lives, ...together.lives]);
  expect(apart.dones[length - 1]).toBeCloseTo(1 / 3);
  expect(apart.dones.at(-1)).toBeCloseTo(1);
});

it("sums the bits of bytes over pixels, patches and the image, and finds the steps that placed them", async () => {
  const { recording } = await record();
  const taken = recording.steps.length;
  const [image, patch, pixel] = pathTo(recording, { image: 2, x: 5, y: 2, taken });
  expect([image, patch, pixel].map(({ side, x, y }) => [side, x, y])).toEqual([[8, 0, 0], [4, 4, 0], [1, 5, 2]]); // prettier-ignore
  const all = recording.bits.subarray(2 * 192).reduce((a, b) => a + b, 0);
  expect(image.bits).toBeCloseTo(all, 2);
  expect(all).toBeGreaterThan(192 * 4); // random weights expect every byte about equally
  expect(image.children.reduce((sum, { bits }) => sum + bits, 0)).toBeCloseTo(image.bits, 2);
  expect(patch.children.reduce((sum, { bits }) => sum + bits, 0)).toBeCloseTo(patch.bits, 2);
  expect(patch.children.find(({ x, y }) => x === 5 && y === 2)!.bits).toBeCloseTo(pixel.bits, 3);
  expect([image.children.length, patch.children.length, pixel.children.length]).toEqual([4, 16, 0]);
  expect(image.step).toBeUndefined();
  const finishes = recording.steps.find(
    ({ level, image, x, y }) => level === 0 && image.some((of, i) => of === 2 && x[i] === 4 && y[i] === 0),
  )!;
  expect([patch.step, patch.steps]).toEqual([finishes.step, finishes.steps]);
  const before = pathTo(recording, { image: 2, x: 5, y: 2, taken: 0 });
  expect(before.map(({ drawn, bits }) => [drawn, bits])).toEqual([[0, 0], [0, 0], [0, 0]]); // prettier-ignore
});

it.each([
  [0, "almost certain"],
  [0.5, "71 in 100"],
  [3, "1 in 8"],
  [12.3, "1 in 5,043"],
  [5101.4, "1 in 2^5,101"],
])("%f bits are %s", (bits, words) => {
  expect(chanceInWords(bits)).toBe(words);
});

it("makes a tour of any model's levels, with moments and a pixel from the recording", async () => {
  const { recording } = await record();
  const steps = tourSteps(sampler.config, recording, 1);
  expect(steps.map(({ title }) => title)).toEqual([
    "Generators inside generators",
    "The first generator places patches of 4×4",
    "Inside each, a second one places pixels",
    "Inside each, a third one chooses red, green, blue",
    "Again and again, until the image is complete",
    "Your turn",
  ]);
  const [, patches, pixels, bytes] = steps;
  expect(recording.steps[patches.taken! - 1]).toMatchObject({ level: 0, step: 1 });
  expect(recording.steps[pixels.taken! - 1]).toMatchObject({ level: 1 });
  const { x, y } = bytes.pixel!;
  const at = 64 + y * 8 + x;
  expect(recording.from[at]).toBe(bytes.taken);
  expect(bytes.text).toContain(`red ${recording.images[at * 3]} (${chanceInWords(recording.bits[at * 3])})`);
});
