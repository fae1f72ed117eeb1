/** Training steps on several threads equal those on one, and survive failures. */

import { afterAll, describe, expect, it } from "vitest";
import { parseTrainingConfig } from "../config/training.ts";
import { batchSource } from "../data/batches.ts";
import { nodeEngine } from "../engine/node.ts";
import { trainingMasks } from "../train/batches.ts";
import { trainingShare } from "../train/share.ts";
import { startingState } from "../train/state.ts";
import { trainingStep } from "../train/step.ts";
import { detailedDataset, tinyModel } from "../train/tiny.ts";
import { parallelTrainingStep } from "./training.ts";

const model = tinyModel({ guidingPixel: true });
const training = parseTrainingConfig({ batch: 5, seed: 5 }, "the test");
const batch = batchSource(detailedDataset(), training)(0);
const { values } = startingState(model, 1, { ema: 0 });
const rates = { attentionDropout: 0.1, projectionDropout: 0.2 };
const sharing = parseTrainingConfig({ seed: 1, innerShare: [0.5], innerChoice: "detail" }, "the test");
const options = { masks: trainingMasks(1, 0), share: trainingShare(sharing, 0), seed: 3, microBatch: 2 };
const steps = {
  two: await parallelTrainingStep(model, { threads: 2, ...rates }),
  one: await trainingStep(await nodeEngine({ threads: 1 }), model, rates),
};
afterAll(async () => {
  await steps.two.dispose();
  await steps.one.dispose();
});

const copyOf = (gradients: ReadonlyMap<string, Float32Array>) =>
  new Map([...gradients].map(([name, data]) => [name, data.slice()]));

describe("training on two threads", () => {
  it("equals one thread to float accuracy, dropout included", async () => {
    const [two, one] = [await steps.two.run(values, batch, options), await steps.one.run(values, batch, options)];
    expect(Math.abs(two.loss / one.loss - 1)).toBeLessThan(1e-6);
    expect(Math.abs(two.bits / one.bits - 1)).toBeLessThan(1e-6);
    for (const [name, gradient] of steps.one.gradients) {
      const largest = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 1e-6);
      const other = steps.two.gradients.get(name)!;
      const error = gradient.reduce((most, g, i) => Math.max(most, Math.abs(g - other[i])), 0);
      expect(error / largest, name).toBeLessThan(1e-4);
    }
  });

  it("returns the same bits every time, and uses the current weights", async () => {
    const first = await steps.two.run(values, batch, options);
    const gradients = copyOf(steps.two.gradients);
    const changed = copyOf(values);
    for (const value of changed.values()) value[0] += 0.5;
    expect((await steps.two.run(changed, batch, options)).loss).not.toBe(first.loss);
    expect(await steps.two.run(values, batch, options)).toEqual(first);
    for (const [name, gradient] of gradients) expect(steps.two.gradients.get(name), name).toEqual(gradient);
  });

  it("accepts a batch with fewer images than threads", async () => {
    const single = { images: batch.images.slice(0, 192), labels: batch.labels.slice(0, 1) };
    const [two, one] = [await steps.two.run(values, single, options), await steps.one.run(values, single, options)];
    expect(two.loss).toBe(one.loss);
  });

  it("throws the error of a thread", async () => {
    await expect(steps.two.run(values, { ...batch, labels: new Int32Array(5).fill(99) }, options)).rejects.toThrow(
      /out of|bounds|index/i,
    );
    // and the threads still work
    expect((await steps.two.run(values, batch, options)).loss).toBeGreaterThan(0);
  });
});
