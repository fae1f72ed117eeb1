/** Training a feature network: its gradients, that it learns, that it is deterministic, and how it is stopped. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { float32, type HostTensor, product, uint8 } from "../core/arrays.ts";
import { bits, derive, normal, seedKey, uniform } from "../core/random.ts";
import { type Dataset, type Split, splitOf } from "../data/dataset.ts";
import { nodeEngine } from "../engine/node.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { openOwnFeatures, ownParameters } from "./own-features.ts";
import { type FeatureRecord, type FeatureTraining, ownTrainingGraph, trainFeatures } from "./own-features-training.ts";

const engine = await nodeEngine({ threads: 1 });
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-feature-training-"));
afterAll(() => rmSync(temporary, { recursive: true }));
let made = 0;
const newFolder = () => join(temporary, `network${made++}`);

const size = 8;

/** Grey images that grow darker downwards (class 0) or to the right (class 1), with noise. */
function shades(labels: number[], seed: number): Split {
  const key = seedKey(seed);
  const images = Uint8Array.from({ length: labels.length * size ** 2 }, (_, i) => {
    const [image, y, x] = [Math.floor(i / size ** 2), Math.floor(i / size) % size, i % size];
    return 230 - 25 * (labels[image] === 0 ? y : x) + 20 * uniform(key, i);
  });
  return splitOf({ images, labels: Int32Array.from(labels), names: labels.map((_, i) => `${i}`) });
}

const alternating = (count: number) => Array.from({ length: count }, (_, i) => i % 2);
const dataset = (change: Partial<Dataset> = {}): Dataset => ({
  name: "shades",
  source: "shades",
  classes: ["down", "right"],
  size,
  channels: 1,
  train: shades(alternating(40), 1),
  heldOut: shades(alternating(10), 2),
  skipped: [],
  notes: [],
  fingerprint: "f1",
  ...change,
});

async function trained(given: Dataset, options: Partial<FeatureTraining> = {}) {
  const folder = newFolder();
  const records: FeatureRecord[] = [];
  const training = trainFeatures(engine, given, { folder, steps: 24, batch: 12, ...options });
  for (;;) {
    const { done, value } = await training.next();
    if (done) return { folder, records, summary: value };
    records.push(value);
  }
}

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const bytesOf = (folder: string) => readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"));

it("the gradient of every parameter equals finite differences", async () => {
  const shape = { imageSize: 6, classes: ["a", "b", "c"], stride: 2, widths: [5, 4] };
  const count = 3;
  const session = await engine.session(writeOnnx(ownTrainingGraph(shape, count)));
  const feeds: Record<string, HostTensor> = {
    images: uint8(
      Uint8Array.from({ length: count * 6 * 6 * 3 }, (_, i) => bits(seedKey(1), i) & 255),
      [count, 6, 6, 3],
    ),
    targets: { dtype: "int64", shape: [count], data: BigInt64Array.of(2n, 0n, 1n) },
  };
  const parameters = ownParameters(shape);
  const normals = (seed: number, part: number, shape: readonly number[]) =>
    Float32Array.from({ length: product(shape) }, (_, n) => normal(derive(seedKey(seed), part), n));
  parameters.forEach(({ name, shape }, i) => {
    const deviation = shape.length > 1 ? Math.sqrt(2 / shape[1]) : 0.3;
    const values = normals(2, i, shape).map((value) => deviation * value);
    feeds[name] = float32(values, shape);
  });
  const found = await session.run(feeds);
  expect(Object.keys(found).sort()).toEqual(["loss", "logits", ...parameters.map(({ name }) => `d.${name}`)].sort());
  const step = 2e-4; // a longer step crosses the kinks of ReLU
  for (const [i, { name, shape }] of parameters.entries()) {
    const way = normals(3, i, shape);
    const at = async (distance: number) => {
      const values = (feeds[name].data as Float32Array).map((value, n) => value + distance * way[n]);
      return Number((await session.run({ ...feeds, [name]: float32(values, shape) })).loss.data[0]);
    };
    const slope = ((await at(step)) - (await at(-step))) / (2 * step);
    const gradient = found[`d.${name}`].data as Float32Array;
    const expected = gradient.reduce((sum, value, n) => sum + value * way[n], 0);
    const norm = Math.hypot(...gradient);
    expect(norm, name).toBeGreaterThan(0.01);
    expect(Math.abs(slope - expected) / norm, name).toBeLessThan(0.01);
  }
  await session.dispose();
});

describe("training on classes", async () => {
  const { folder, records, summary } = await trained(dataset());

  it("learns to tell held-out images apart", () => {
    const losses = records.map(({ loss }) => loss);
    expect(records.map(({ step, steps }) => [step, steps])).toEqual(losses.map((_, i) => [i + 1, 24]));
    expect(Math.abs(losses[0] - Math.log(2))).toBeLessThan(0.7);
    expect(mean(losses.slice(-4))).toBeLessThan(0.3 * mean(losses.slice(0, 3)));
    expect(records.at(-1)!.accuracy).toBeGreaterThan(records[0].accuracy);
    const values = ownParameters({ imageSize: size, classes: ["down", "right"], stride: 2, widths: [64, 128] });
    expect(summary).toEqual({
      accuracy: 1,
      task: "classes",
      parameters: values.reduce((sum, { shape }) => sum + product(shape), 0),
    });
  });

  it("writes a network that names its data and its accuracy", async () => {
    const network = await openOwnFeatures(engine, folder);
    expect(network).toMatchObject({
      name: "own features of shades (2 classes, 100.0% of held-out images right)",
      width: 128,
      imageSize: size,
      channels: 1,
      classes: ["down", "right"],
    });
    const { heldOut } = dataset();
    for (let i = 0; i < heldOut.count; i++) {
      const rgb = uint8(Uint8Array.from({ length: size ** 2 * 3 }, (_, at) => heldOut.image(i)[Math.floor(at / 3)]), [1, size, size, 3]); // prettier-ignore
      const { logits } = await network.run(rgb);
      expect(logits.data[heldOut.labels[i]]).toBeGreaterThan(logits.data[1 - heldOut.labels[i]]);
    }
    await network.dispose();
    const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    expect(config).toMatchObject({ steps: 24, batch: 12, seed: 0, data: { name: "shades", fingerprint: "f1" } });
  });

  it("writes the same bytes again, and different ones with another seed", async () => {
    expect(bytesOf((await trained(dataset())).folder)).toEqual(bytesOf(folder));
    expect(bytesOf((await trained(dataset(), { seed: 1 })).folder)[1]).not.toEqual(bytesOf(folder)[1]);
  });
});

it("small classes are drawn more often if sizes differ much", async () => {
  const labels = Array.from({ length: 40 }, (_, i) => Number(i % 20 === 0)); // 38 of one, 2 of the other
  const rare = dataset({ train: shades(labels, 1) });
  const shown = new Float64Array(2);
  const image = rare.train.image;
  const counting: Dataset = { ...rare, train: { ...rare.train, image: (i) => (shown[labels[i]]++, image(i)) } };
  await trained(counting, { steps: 20, batch: 20 });
  // In proportion to the root of their sizes: 18.7% of 400, although only 5% of the images have this class.
  expect(shown[0] + shown[1]).toBe(400);
  const share = Math.SQRT2 / (Math.SQRT2 + Math.sqrt(38));
  expect(Math.abs(shown[1] / 400 - share)).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / 400));
});

describe("data of one class", () => {
  it("train on the rotation of images, and each held-out image is tested in all four rotations", async () => {
    const one = (count: number, seed: number) => shades(new Array<number>(count).fill(0), seed);
    const seen: number[] = [];
    const heldOut = one(5, 2);
    const images = { ...heldOut, image: (i: number) => (seen.push(i), heldOut.image(i)) };
    const single = dataset({ classes: ["only"], train: one(20, 1), heldOut: images });
    const { summary, folder, records } = await trained(single, { steps: 40 });
    expect(Math.abs(records[0].loss - Math.log(4))).toBeLessThan(1);
    expect(summary).toMatchObject({ task: "rotations", accuracy: 1 });
    expect(new Set(seen)).toEqual(new Set([0, 1, 2, 3, 4]));
    const network = await openOwnFeatures(engine, folder);
    await network.dispose();
    expect(network.classes).toEqual(["upright", "a quarter turn", "half a turn", "three quarters of a turn"]);
    expect(network.name).toContain("4 turns of an image, 100.0%");
  });
});

describe("training is stopped", () => {
  it("by its signal, before a step or the measurement, and leaves nothing behind", async () => {
    const folder = newFolder();
    const controller = new AbortController();
    const training = trainFeatures(engine, dataset(), { folder, steps: 3, batch: 4, signal: controller.signal });
    for (let step = 1; step <= 3; step++) expect((await training.next()).value).toMatchObject({ step });
    controller.abort(new Error("enough"));
    await expect(training.next()).rejects.toThrow("enough");
    const early = trainFeatures(engine, dataset(), { folder, signal: controller.signal });
    await expect(early.next()).rejects.toThrow("enough");
    expect(existsSync(folder)).toBe(false);
    expect(readdirSync(temporary).filter((name) => !/^network\d+$/.test(name))).toEqual([]);
  });

  it("with one sentence if no images are held out", async () => {
    const none = dataset({ heldOut: shades([], 1) });
    await expect(trainFeatures(engine, none, { folder: newFolder() }).next()).rejects.toThrow(
      "shades: it holds out no images, so the network cannot be evaluated; hold out a part",
    );
  });
});
