/** Features of a stream of images do not depend on the batches; Inception-v3's features are those recorded. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { HostTensor } from "../core/arrays.ts";
import { bits, seedKey } from "../core/random.ts";
import { nodeEngine } from "../engine/node.ts";
import { cast, input, mean, mul, reshape, slice } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { readFeatures } from "../parity/features.ts";
import { syntheticInception } from "../parity/test-inception.ts";
import { statisticsOf } from "../parity/metrics.ts";
import { type FeatureNetwork, inceptionNetwork, measure } from "./features.ts";

const engine = await nodeEngine({ threads: 1 });
const size = 4;

/** A network whose features are the means of an image's rows, and whose logits are twice the first two features. */
async function rowMeans(): Promise<FeatureNetwork & { batches: number[] }> {
  const images = cast(input("images", "uint8", ["B", size, size, 3]), "float32");
  const features = reshape(mean(reshape(images, ["B", size, size * 3])), ["B", size]);
  const session = await engine.session(writeOnnx({ features, logits: mul(slice(features, 1, 0, 2), 2) }));
  const batches: number[] = [];
  return {
    name: "row means",
    kind: "own",
    width: size,
    batches,
    async run(images) {
      batches.push(images.shape[0]);
      return (await session.run({ images })) as Awaited<ReturnType<FeatureNetwork["run"]>>;
    },
    dispose: () => session.dispose(),
  };
}

/** `count` random images. */
async function* images(count: number) {
  for (let image = 0; image < count; image++)
    yield Uint8Array.from({ length: size * size * 3 }, (_, i) => bits(seedKey(image), i) & 255);
}

describe("a stream of images", async () => {
  const network = await rowMeans();
  afterAll(() => network.dispose());

  it("is measured image by image, in its order", async () => {
    const { features, logits } = await measure(engine, { network, name: "the set" }, images(7), { size, batch: 3 });
    expect([features.shape, logits.shape]).toEqual([[7, 4], [7, 2]]); // prettier-ignore
    let at = 0;
    for await (const image of images(7)) {
      for (let row = 0; row < size; row++)
        expect(features.data[at * size + row]).toBeCloseTo(
          image.subarray(row * size * 3, (row + 1) * size * 3).reduce((a, b) => a + b, 0) / 12,
          3,
        );
      expect(logits.data[at * 2 + 1]).toBe(2 * features.data[at * size + 1]);
      at++;
    }
    expect(at).toBe(7);
  });

  it("has the same features in any batches, and the last batch may be smaller", async () => {
    const whole = await measure(engine, { network, name: "the set" }, images(7), { size, batch: 100 });
    network.batches.length = 0;
    const done: number[] = [];
    const onImages = (count: number) => void done.push(count);
    const cut = await measure(engine, { network, name: "the set" }, images(7), { size, batch: 3, onImages });
    expect(network.batches).toEqual([3, 3, 1]);
    expect(done).toEqual([3, 6, 7]);
    expect(cut.features).toEqual(whole.features);
    expect(cut.logits).toEqual(whole.logits);
    const right = await statisticsOf(engine, whole.features);
    for (const { statistics } of [whole, cut])
      for (const part of ["mu", "sigma"] as const)
        statistics[part].forEach((value, i) => expect(value).toBeCloseTo(right[part][i], 8));
  });

  it("needs two images, and the error names the set", async () => {
    for (const count of [0, 1])
      await expect(measure(engine, { network, name: "the held-out set" }, images(count), { size })).rejects.toThrow(
        `at least 2 images are needed, the held-out set has ${count}`,
      );
  });

  it("can be cancelled between batches", async () => {
    const controller = new AbortController();
    const onImages = () => controller.abort(new Error("enough"));
    network.batches.length = 0;
    const options = { size, batch: 2, onImages, signal: controller.signal };
    await expect(measure(engine, { network, name: "the set" }, images(7), options)).rejects.toThrow("enough");
    expect(network.batches).toEqual([2]);
  });
});

it("Inception-v3 returns the means of its last layer, and logits without bias", async () => {
  const fixtures = fileURLToPath(new URL("../../fixtures/metrics", import.meta.url));
  const weights = await syntheticInception();
  const recorded = readFeatures(join(fixtures, "inception.safetensors")).find(({ tag }) => tag === "b32")!;
  const { run, dispose, ...about } = await inceptionNetwork(await nodeEngine(), weights);
  expect(about).toEqual({ name: "Inception-v3", kind: "inception", width: 2048 });
  const { features, logits } = await run(recorded.images);
  await dispose();
  const near = (found: HostTensor<Float32Array>, right: HostTensor<Float32Array>) => {
    const largest = right.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = right.data.reduce((most, value, i) => Math.max(most, Math.abs(value - found.data[i])), 0);
    expect(apart / largest).toBeLessThan(1e-5);
  };
  near(features, recorded.features["2048"]!);
  near(logits, recorded.features["logits_unbiased"]!);
});
