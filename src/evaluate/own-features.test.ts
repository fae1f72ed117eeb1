/** The network compared with a plain implementation, its files, and errors for other files. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { float32, product, uint8 } from "../core/arrays.ts";
import { bits, derive, normal, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { floatingPointOperations } from "../graph/cost.ts";
import {
  openOwnFeatures,
  type OwnFeaturesConfig,
  ownFeaturesGraph,
  ownLayers,
  ownParameters,
  type OwnFeaturesShape,
  writeOwnFeatures,
} from "./own-features.ts";

const engine = await nodeEngine({ threads: 1 });
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-own-features-"));
afterAll(() => rmSync(temporary, { recursive: true }));
let made = 0;
const newFolder = () => join(temporary, `network${made++}`);

const config = {
  imageSize: 5,
  channels: 1,
  classes: ["a", "b", "c"],
  task: "classes",
  stride: 2,
  widths: [3, 4],
  data: { name: "letters", fingerprint: "abc" },
  accuracy: 0.9999,
  steps: 10,
  batch: 4,
  seed: 0,
} satisfies Omit<OwnFeaturesConfig, "format" | "version">;

const valuesOf = (shape: OwnFeaturesShape) =>
  new Map(
    ownParameters(shape).map(({ name, shape }, i) => {
      const key = derive(seedKey(6), i);
      return [name, Float32Array.from({ length: product(shape) }, (_, n) => 0.5 * normal(key, n))] as const;
    }),
  );
type Values = ReturnType<typeof valuesOf>;
const values = valuesOf(config);
const imagesOf = (size: number, count: number) =>
  uint8(
    Uint8Array.from({ length: count * size * size * 3 }, (_, i) => bits(seedKey(7), i) & 255),
    [count, size, size, 3],
  );

/** The channels of a place; zeros outside the image. */
type Places = (y: number, x: number) => number[];

/** A plain implementation of the network, place by place, for one image [S, S, 3] of bytes. */
function plainly(image: Uint8Array, { imageSize, stride, widths }: OwnFeaturesShape, values: Values) {
  const linear = (name: string, x: number[]) => {
    const [weight, bias] = [values.get(`${name}.weight`)!, values.get(`${name}.bias`)!];
    return Array.from(bias, (b, to) => x.reduce((sum, value, from) => sum + value * weight[to * x.length + from], b));
  };
  const layer = (name: string, x: number[]) => linear(name, x).map((value) => Math.max(0, value));
  const normalised = (x: number[]) => {
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    return x.map((value) => (value - mean) / Math.sqrt(variance + 1e-5));
  };
  /** Computes every place of a square once; outside of it the channels are zero. */
  const square = (side: number, of: Places): Places => {
    const all = Array.from({ length: side * side }, (_, i) => of(Math.floor(i / side), i % side));
    const inside = (at: number) => at >= 0 && at < side;
    return (y, x) => (inside(y) && inside(x) ? all[y * side + x] : all[0].map(() => 0));
  };
  let side = imageSize;
  let places = square(side, (y, x) =>
    [...image.subarray((y * imageSize + x) * 3, (y * imageSize + x + 1) * 3)].map((byte) => byte / 127.5 - 1),
  );
  widths.forEach((_, i) => {
    const [before, sideBefore] = [places, side];
    const given = i === 0 ? before : square(sideBefore, (y, x) => normalised(before(y, x)));
    const n = i === 0 ? stride : 2;
    const within = Array.from({ length: n }, (_, at) => at);
    side = Math.ceil(side / n);
    const halved = square(
      side,
      (y, x) =>
      layer(`${i}.halve`, within.flatMap((dy) => within.flatMap((dx) => given(n * y + dy, n * x + dx)))), // prettier-ignore
    );
    const even = square(side, (y, x) => normalised(halved(y, x)));
    // Neighbours in order of columns: three rows for each column.
    places = square(
      side,
      (y, x) =>
      layer(`${i}.mix`, [-1, 0, 1].flatMap((dx) => [-1, 0, 1].flatMap((dy) => even(y + dy, x + dx)))), // prettier-ignore
    );
  });
  const features = places(0, 0).map((_, c) => {
    let sum = 0;
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) sum += places(y, x)[c];
    return sum / side ** 2;
  });
  return { features, logits: linear("head", features) };
}

describe("the network", () => {
  it.each([
    [5, 2],
    [13, 4],
  ])("equals the plain implementation, also for odd sides (%i pixels, stride %i)", async (imageSize, stride) => {
    const other = { ...config, imageSize, stride };
    const values = valuesOf(other);
    const folder = newFolder();
    await writeOwnFeatures(folder, other, values);
    const network = await openOwnFeatures(engine, folder);
    const images = imagesOf(imageSize, 3);
    const length = imageSize * imageSize * 3;
    const { features, logits } = await network.run(images);
    const first = await network.run(uint8(images.data.slice(0, length), [1, imageSize, imageSize, 3]));
    await network.dispose();
    expect([features.shape, logits.shape]).toEqual([[3, 4], [3, 3]]); // prettier-ignore
    for (let image = 0; image < 3; image++) {
      const right = plainly(images.data.subarray(image * length, (image + 1) * length), other, values);
      right.features.forEach((value, i) => expect(features.data[image * 4 + i]).toBeCloseTo(value, 4));
      right.logits.forEach((value, i) => expect(logits.data[image * 3 + i]).toBeCloseTo(value, 4));
    }
    first.features.data.forEach((value, i) => expect(value).toBeCloseTo(features.data[i], 5));
    expect(new Set(features.data).size).toBeGreaterThan(6);
  });

  it("has layers down to a side of four, at most 32x32 places after the first, and 128 features", () => {
    expect([4, 8, 28, 32, 64, 100, 256].map(ownLayers)).toEqual([
      { stride: 2, widths: [64, 128] },
      { stride: 2, widths: [64, 128] },
      { stride: 2, widths: [32, 64, 128] },
      { stride: 2, widths: [32, 64, 128] },
      { stride: 2, widths: [16, 32, 64, 128] },
      { stride: 4, widths: [16, 32, 64, 128] },
      { stride: 8, widths: [16, 32, 64, 128] },
    ]);
    const names = (imageSize: number) =>
      ownParameters({ imageSize, classes: ["a", "b"], ...ownLayers(imageSize) }).map(({ name }) => name);
    const parts = (imageSize: number) => new Set(names(imageSize).map((name) => name.replace(/\.(weight|bias)$/, "")));
    expect([...parts(256)].sort()).toEqual(
      ["0.halve", "0.mix", "1.halve", "1.mix", "2.halve", "2.mix", "3.halve", "3.mix", "head"],
    ); // prettier-ignore
    expect(names(8)).toHaveLength(10);
  });

  it("ends at a side of four at most, whatever the size", () => {
    for (const imageSize of [1, 3, 28, 33, 100, 256, 1000, 4096]) {
      const { stride, widths } = ownLayers(imageSize);
      const first = Math.ceil(imageSize / stride);
      expect(first, `${imageSize}`).toBeLessThanOrEqual(32);
      const side = widths.slice(1).reduce((at) => Math.ceil(at / 2), first);
      expect(side, `${imageSize}`).toBeLessThanOrEqual(4);
    }
  });

  it("takes about as many operations for large images as for small ones", () => {
    const operations = (imageSize: number) => {
      const shape = { imageSize, classes: ["a", "b"], ...ownLayers(imageSize) };
      return floatingPointOperations(ownFeaturesGraph(shape), new Map([["B", 1]]));
    };
    expect(operations(256)).toBeLessThan(1.5 * operations(64));
  });
});

describe("files", () => {
  it("name the data and the accuracy, which is rounded down", async () => {
    const folder = newFolder();
    await writeOwnFeatures(folder, config, values);
    expect(readdirSync(folder).sort()).toEqual(["config.json", "model.safetensors"]);
    expect(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))).toEqual({
      format: "fractalgen own features",
      version: 1,
      ...config,
    });
    const { run: _run, dispose, ...about } = await openOwnFeatures(engine, folder);
    await dispose();
    expect(about).toEqual({
      name: "own features of letters (3 classes, 99.9% of held-out images right)",
      width: 4,
      imageSize: 5,
      channels: 1,
      classes: ["a", "b", "c"],
    });
    const turned = newFolder();
    await writeOwnFeatures(turned, { ...config, task: "rotations", accuracy: 1 }, values);
    const other = await openOwnFeatures(engine, turned);
    await other.dispose();
    expect(other.name).toBe("own features of letters (3 turns of an image, 100.0% of held-out images right)");
  });

  it("without such a network are reported in one sentence", async () => {
    const open = async (change: (folder: string) => void) => {
      const folder = newFolder();
      await writeOwnFeatures(folder, config, values);
      change(folder);
      return openOwnFeatures(engine, folder);
    };
    const inConfig = (change: object) => (folder: string) => {
      const path = join(folder, "config.json");
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...change }));
    };
    await expect(openOwnFeatures(engine, join(temporary, "none"))).rejects.toThrow(/none.*there is no such file/);
    await expect(open((folder) => rmSync(join(folder, "model.safetensors")))).rejects.toThrow(
      /model\.safetensors: there is no such file/,
    );
    await expect(open(inConfig({ format: "fractalgen" }))).rejects.toThrow(
      /network\d+ holds no feature network \(config\.json: format: .*\); use the folder of one or train a network$/,
    );
    await expect(open(inConfig({ width: 3 }))).rejects.toThrow(/config\.json: .*width.*did you mean "widths"\?/);
    await expect(open(inConfig({ widths: [3, 5] }))).rejects.toThrow(
      /model\.safetensors does not hold the weights of own features of letters .*: 5 with the wrong shape \(1\.halve\.weight \[4, 12\] instead of \[5, 12\], .*; use another folder or train a network$/,
    );
    const empty = newFolder();
    mkdirSync(empty);
    await expect(openOwnFeatures(engine, empty)).rejects.toThrow(/there is no such file/);
  });

  it("make a network that refuses images of another size or type", async () => {
    const folder = newFolder();
    await writeOwnFeatures(folder, config, values);
    const network = await openOwnFeatures(engine, folder);
    await expect(network.run(imagesOf(6, 1))).rejects.toThrow(
      /own features of letters .*: images are uint8 \[1, 6, 6, 3\], expected uint8 \[B, 5, 5, 3\]; use images of 5x5 pixels, or features trained at their size$/,
    );
    await expect(network.run(float32(new Float32Array(75), [1, 5, 5, 3]))).rejects.toThrow("images are float32");
    await network.dispose();
  });
});
