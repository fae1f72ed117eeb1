/** Which patches a step passes down: how many, how often each, and that the expectation of the loss stays the same. */

import { describe, expect, it } from "vitest";
import { parseTrainingConfig } from "../config/training.ts";
import { nodeEngine } from "../engine/node.ts";
import { marked, planPass } from "../model/plan.ts";
import { trainingMasks } from "./batches.ts";
import { detailOf } from "./detail.ts";
import { trainingShare } from "./share.ts";
import { startingState } from "./state.ts";
import { trainingStep } from "./step.ts";
import { detailedImages, tinyModel } from "./tiny.ts";

const count = 4;
const model = tinyModel({ guidingPixel: true });
const masks = trainingMasks(1, 0);
const batch = detailedImages(count);
const shareOf = (innerChoice: "uniform" | "detail", innerShare = [0.5, 0.25], step = 0) =>
  trainingShare(parseTrainingConfig({ innerShare, innerChoice, seed: 1 }, "the test"), step)?.(model, batch);

it("counts a patch's pixels that differ from their left or upper neighbours", () => {
  const detail = detailOf(model, batch);
  expect([...detail(0, 0)]).toEqual([0, 16, 0, 16]);
  expect([...detail(0, count - 1)]).toEqual([0, 0, 0, 0]);
  // The second level's patches are single pixels, numbered patch by patch.
  expect([...detail(1, 0)]).toEqual([0, 1, 0, 1].flatMap((one) => new Array<number>(16).fill(one)));
});

describe.each(["uniform", "detail"] as const)("chosen by %s", (choice) => {
  it("passes down that share of each row's predicted patches, at least one", () => {
    const all = planPass(model, count, masks);
    const { down, rows, masks: predicted } = planPass(model, count, masks, shareOf(choice));
    const perRow = (mask: Uint8Array | Float32Array, tokens: number) =>
      Array.from({ length: mask.length / tokens }, (_, row) => marked(mask.subarray(row * tokens, (row + 1) * tokens)));
    const share = (part: number) => (n: number) => Math.max(1, Math.round(part * n));
    expect(perRow(down[0], 4)).toEqual(perRow(all.masks[0], 4).map(share(0.5)));
    expect(perRow(down[1], 16)).toEqual(perRow(predicted[1], 16).map(share(0.25)));
    expect(down[0].every((one, i) => one === 0 || all.masks[0][i] === 1)).toBe(true);
    expect(rows[1]).toBe(marked(down[0]));
    expect(shareOf(choice, [1, 1])).toBeUndefined();
  });

  it("gives every patch an expected weight of 1, and flat ones fewer draws only by detail", () => {
    const steps = 4000;
    const weights = new Float64Array(count * 4);
    const drawn = new Float64Array(count * 4);
    const predicted = new Uint8Array(count * 4).fill(1);
    const rows = { image: Int32Array.of(0, 1, 2, 3), place: new Int32Array(count) };
    for (let step = 0; step < steps; step++)
      shareOf(choice, [0.25], step)!(0, rows, predicted).forEach((weight, at) => {
        weights[at] += weight;
        drawn[at] += weight > 0 ? 1 : 0;
      });
    // One of four patches is drawn; a flat one of an image with two others in one of 20 steps, with a weight of 5.
    const flat = choice === "detail" ? 0.05 : 0.25;
    drawn.forEach((times, at) => {
      const probability = at >= 12 ? 0.25 : at % 2 === 0 ? flat : 0.5 - flat;
      const deviation = Math.sqrt((probability * (1 - probability)) / steps);
      expect(Math.abs(times / steps - probability) / deviation).toBeLessThan(4);
      expect(weights[at] / times).toBeCloseTo(choice === "detail" ? 0.25 / probability : 1, 5);
    });
  });

  it("leaves the expected loss unchanged, with guiding pixels", async () => {
    const engine = await nodeEngine({ threads: 1 });
    const { values } = startingState(model, 1, { ema: 0 });
    const step = await trainingStep(engine, model);
    const whole = await step.run(values, batch, { masks });
    const losses: number[] = [];
    for (let number = 0; number < 100; number++)
      losses.push((await step.run(values, batch, { masks, share: () => shareOf(choice, [0.5, 0.25], number)! })).loss);
    await step.dispose();
    const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
    const deviation = Math.sqrt(losses.reduce((a, b) => a + (b - mean) ** 2, 0) / (losses.length - 1));
    expect(deviation).toBeGreaterThan(0);
    expect(Math.abs(mean - whole.loss)).toBeLessThan((4 * deviation) / Math.sqrt(losses.length) + 0.01);
  });
});
