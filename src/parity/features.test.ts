/** Inception-v3 features match torch-fidelity's; a wrong value is detected, and unexpected files are reported. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { float32, type HostTensor, uint8 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { writeSafetensors } from "../files/safetensors.ts";
import { compareFeatures, compareFeaturesOf, readFeatures, readParameters } from "./features.ts";
import { syntheticInception } from "./test-inception.ts";
import { thorough } from "../test-depth.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/metrics", import.meta.url));
const recordedFile = join(fixtures, "inception.safetensors");
const engine = await nodeEngine();
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-features-"));
const weights = await syntheticInception();
afterAll(() => rmSync(temporary, { recursive: true }));

it.runIf(thorough)("all agree, a hundred times better than required", async () => {
  const comparisons = await compareFeatures(engine, fixtures);
  const features = ["64", "192", "768", "2048", "logits_unbiased", "logits"];
  expect(comparisons.map(({ name }) => name)).toEqual(
    ["a64", "b32", "c256"].flatMap((tag) => features.map((feature) => `${tag}.${feature}`)),
  );
  for (const { name, error, tolerance, ok } of comparisons) {
    expect(error, name).toBeLessThan(1e-5);
    expect([tolerance, ok], name).toEqual([1e-3, true]);
  }
});

it("with one wrong value are detected, and features that were not recorded are not required", async () => {
  const { images, features, tag } = readFeatures(recordedFile).find((one) => one.tag === "b32")!;
  const { shape, data } = features["768"]!;
  const spoilt = data.slice();
  spoilt[3] += 0.002 * data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const recorded = [{ tag, images, features: { "192": features["192"], "768": float32(spoilt, shape) } }];
  const comparisons = await compareFeaturesOf(engine, { weights, recorded });
  expect(comparisons.map(({ name, ok }) => [name, ok])).toEqual([
    ["b32.192", true],
    ["b32.768", false],
  ]);
});

it("cannot be read from other files, which are reported in one sentence", async () => {
  const path = join(temporary, "other.safetensors");
  const read = async (tensors: Record<string, HostTensor>) => {
    await writeSafetensors(path, Object.entries(tensors));
    return () => readFeatures(path);
  };
  const images = uint8(new Uint8Array(12), [1, 2, 2, 3]);
  expect(await read({ "x.images.u8": images, "x.65": float32([1], [1, 1]) })).toThrow(
    /other\.safetensors: unexpected tensor "x\.65"; expected TAG\.images\.u8 and, for the same tags, TAG\.64, /,
  );
  expect(await read({ "x.images.u8": images, "y.64": float32([1], [1, 1]) })).toThrow('unexpected tensor "y.64"');
  expect(await read({ "x.images.u8": uint8(new Uint8Array(12), [1, 3, 2, 2]) })).toThrow(
    "x.images.u8 is uint8 [1, 3, 2, 2], expected uint8 [B, H, W, 3]",
  );
  writeFileSync(path, '{"fc.bias": "1008"}');
  expect(() => readParameters(path)).toThrow(/other\.safetensors: fc\.bias: .*array/);
});
