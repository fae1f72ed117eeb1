/** The effect of each augmentation on pixels, the classes it excludes, and what its draws depend on. */

import { describe, expect, it } from "vitest";
import { parseTrainingConfig, type TrainingConfig } from "../config/training.ts";
import { type Change, changed } from "./augment.ts";
import { batchSource } from "./batches.ts";
import { type Dataset, splitOf } from "./dataset.ts";

const still: Change = { shift: [0, 0], mirror: false, hue: 0 };
const grey = { size: 3, channels: 1 };
const picture = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);

describe("an image", () => {
  it.each<[string, Partial<Change>, number[]]>([
    ["stays", {}, [1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ["goes to the right", { shift: [1, 0] }, [1, 1, 2, 4, 4, 5, 7, 7, 8]],
    ["goes to the left", { shift: [-1, 0] }, [2, 3, 3, 5, 6, 6, 8, 9, 9]],
    ["goes down", { shift: [0, 1] }, [1, 2, 3, 1, 2, 3, 4, 5, 6]],
    ["goes up and to the left", { shift: [-1, -1] }, [5, 6, 6, 8, 9, 9, 8, 9, 9]],
    ["is mirrored", { mirror: true }, [3, 2, 1, 6, 5, 4, 9, 8, 7]],
    ["is mirrored and goes to the right", { mirror: true, shift: [1, 0] }, [3, 3, 2, 6, 6, 5, 9, 9, 8]],
    ["has no hue to turn without colour", { hue: 0.1 }, [1, 2, 3, 4, 5, 6, 7, 8, 9]],
  ])("%s", (_, change, expected) => {
    expect([...changed(picture, { ...still, ...change }, grey)]).toEqual(expected);
    expect([...picture]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("keeps white, grey, black and opacity, and roughly its luma, when its hue is rotated", () => {
    const colours = Uint8Array.of(255, 255, 255, 9, 128, 128, 128, 7, 0, 0, 0, 255, 200, 60, 40, 99);
    const turned = changed(colours, { ...still, hue: 0.17 }, { size: 2, channels: 4 });
    expect([...turned.subarray(0, 12)]).toEqual([...colours.subarray(0, 12)]);
    expect(turned[15]).toBe(99);
    expect([...turned.subarray(12, 15)]).not.toEqual([200, 60, 40]);
    const luma = (at: Uint8Array) => 0.213 * at[12] + 0.715 * at[13] + 0.072 * at[14];
    expect(Math.abs(luma(turned) - luma(colours))).toBeLessThan(1);
    const back = changed(turned, { ...still, hue: -0.17 }, { size: 2, channels: 4 });
    back.forEach((value, i) => expect(Math.abs(value - colours[i])).toBeLessThanOrEqual(1));
  });
});

const size = 4;
const channels = 3;
const count = 6;
/** Images in which any change is visible, of classes 0, 1, 2 in turn; 1 must not be flipped, 2 must keep its hue. */
const dataset: Dataset = {
  name: "test",
  source: "test",
  classes: ["any", "arrow", "flag"],
  augmentable: { flip: [true, false, true], hue: [true, true, false] },
  size,
  channels,
  train: splitOf({
    images: Uint8Array.from({ length: count * size * size * channels }, (_, i) => (i * 53 + (i >> 5) * 17) % 251),
    labels: Int32Array.from({ length: count }, (_, i) => i % 3),
    names: Array.from({ length: count }, String),
  }),
  heldOut: splitOf({ images: new Uint8Array(48), labels: Int32Array.of(0), names: ["0"] }),
  skipped: [],
  notes: [],
  fingerprint: "",
};

const settings = (given: Partial<TrainingConfig>) =>
  parseTrainingConfig({ batch: count, labelDrop: 0, ...given }, "the test");

/** For each step and class, which of the originals, mirror images and shifts occur. */
function seen(augment: TrainingConfig["augment"]) {
  const draw = batchSource(dataset, settings({ augment }));
  const plain = new Set(Array.from({ length: count }, (_, i) => dataset.train.image(i).join()));
  const different = [0, 0, 0];
  for (let step = 0; step < 60; step++) {
    const { images, labels } = draw(step);
    for (let i = 0; i < count; i++)
      if (!plain.has(images.subarray(i * 48, (i + 1) * 48).join())) different[labels[i]]++;
  }
  return different.map((changes) => changes / (60 * 2));
}

describe("an augmentation", () => {
  it("is applied only to classes that allow it", () => {
    const [flips, hues, shifts] = [seen(["flip"]), seen(["hue"]), seen(["shift"])];
    expect(seen([])).toEqual([0, 0, 0]);
    expect(flips[1]).toBe(0);
    for (const share of [flips[0], flips[2]]) expect(Math.abs(share - 1 / 2)).toBeLessThan(0.2);
    expect(hues[2]).toBe(0);
    for (const share of hues.slice(0, 2)) expect(share).toBeGreaterThan(0.8);
    for (const share of shifts) expect(Math.abs(share - 8 / 9)).toBeLessThan(0.15);
  });

  it("depends only on seed, step and position, not on earlier draws or other augmentations", () => {
    const all = settings({ augment: ["shift", "flip", "hue"], seed: 3 });
    const whole = batchSource(dataset, all);
    const before = [0, 1, 2, 3].map((step) => whole(step));
    expect(batchSource(dataset, all)(3)).toEqual(before[3]);
    expect(batchSource(dataset, { ...all, seed: 4 })(3)).not.toEqual(before[3]);
    const spared = { ...dataset, augmentable: { flip: [true, false, true], hue: [false, false, false] } };
    const without = batchSource(spared, all)(3);
    const [shifted, both] = [without, batchSource(spared, { ...all, augment: ["shift", "flip"] })(3)];
    expect(shifted).toEqual(both);
  });
});

describe("earlier versions' flip", () => {
  it.each<[object, string[]]>([
    [{ flip: true }, ["flip"]],
    [{ flip: false }, []],
    [{ flip: true, augment: ["shift"] }, ["shift", "flip"]],
    [{}, []],
  ])("%j is read", (given, augment) => expect(parseTrainingConfig(given, "state.json").augment).toEqual(augment));
  it("is rejected if it is not a boolean", () =>
    expect(() => parseTrainingConfig({ flip: 1 }, "state.json")).toThrow(/unknown key "flip"/));
});
