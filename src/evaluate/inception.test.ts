/** Features against those that torch-fidelity computed, with weights made by a formula; and what is said of wrong files. */

import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import CRC32 from "crc-32";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HostTensor, product, uint8 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { readSafetensors } from "../files/safetensors.ts";
import { oldCheckpointBytes } from "../files/test-old-torch.ts";
import { checkpointBytes } from "../files/test-torch.ts";
import { floatingPointOperations } from "../graph/cost.ts";
import { type InceptionFeature, inceptionGraph, inceptionParameters } from "./inception.ts";
import { convertInception, openInception } from "./inception-features.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/metrics", import.meta.url));
const listed: Record<string, number[]> = JSON.parse(readFileSync(join(fixtures, "inception-parameters.json"), "utf8"));
const isCount = (name: string) => name.endsWith("num_batches_tracked");
const names = Object.keys(listed).filter((name) => !isCount(name));

/** The weights of fixtures/metrics/README.md. */
function synthetic(name: string): Float32Array {
  const shape = listed[name];
  const [scale, middle] =
    shape.length === 4
      ? [Math.sqrt(24 / product(shape.slice(1))), 0]
      : shape.length === 2
        ? [Math.sqrt(12 / shape[1]), 0]
        : name.endsWith("running_var")
          ? [0.4, 1]
          : [0.2, name.endsWith(".weight") ? 1 : 0];
  const start = CRC32.str(name);
  return Float32Array.from({ length: product(shape) }, (_, i) => {
    let h = (Math.imul(i, 2654435761) + start) | 0;
    h = Math.imul(h ^ (h >>> 15), 2246822519);
    h = (h ^ (h >>> 13)) >>> 0;
    return (h / 2 ** 32 - 0.5) * scale + middle;
  });
}

const bytesOf = ({ buffer }: Float32Array) => new Uint8Array(buffer);
const folder = mkdtempSync(join(tmpdir(), "fractalgen-inception-"));
const file = (name: string) => join(folder, name);
beforeAll(async () => {
  const weights = Object.fromEntries(
    names.map((name) => [name, { shape: listed[name], bytes: bytesOf(synthetic(name)) }]),
  );
  writeFileSync(file("published.pth"), oldCheckpointBytes(weights));
  await convertInception(file("published.pth"), file("inception.safetensors"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const all: InceptionFeature[] = ["64", "192", "768", "2048", "logits_unbiased", "logits"];

it("has the published file's parameters", () => {
  const ours = Object.fromEntries(inceptionParameters().map(({ name, shape }) => [name, shape]));
  expect(ours).toEqual(Object.fromEntries(names.map((name) => [name, listed[name]])));
});

it("takes 11.4 billion operations an image", () => {
  const sizes = new Map([
    ["B", 1],
    ["H", 32],
    ["W", 32],
  ]);
  expect(floatingPointOperations(inceptionGraph(), sizes) / 1e9).toBeCloseTo(11.4, 1);
});

describe("features", () => {
  const { tensors } = readSafetensors(join(fixtures, "inception.safetensors"));
  const apart = (got: HostTensor, expected: HostTensor): number => {
    expect(got.shape).toEqual(expected.shape);
    const [x, y] = [got.data as Float32Array, expected.data as Float32Array];
    const largest = y.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i])), 0) / largest;
  };

  it.each(["a64", "b32", "c256"])("are torch-fidelity's: %s", async (tag) => {
    const engine = await nodeEngine();
    const network = await openInception(engine, file("inception.safetensors"), all);
    const features = await network.run(tensors.get(`${tag}.images.u8`)!);
    await network.dispose();
    for (const name of all) expect(apart(features[name], tensors.get(`${tag}.${name}`)!), name).toBeLessThan(1e-5);
  });

  it("are the asked ones alone, of one image as among others, however wide it is", async () => {
    const network = await openInception(await nodeEngine(), file("inception.safetensors"), ["2048"]);
    const { shape, data } = tensors.get("a64.images.u8") as HostTensor<Uint8Array>;
    const both = await network.run(tensors.get("a64.images.u8")!);
    const second = await network.run(uint8(data.slice(data.length / 2), [1, ...shape.slice(1)]));
    const wide = await network.run(uint8(data.slice(0, 40 * 64 * 3), [1, 40, 64, 3]));
    await network.dispose();
    expect(Object.keys(both)).toEqual(["2048"]);
    const alone = { ...both["2048"], shape: [1, 2048], data: both["2048"].data.slice(2048) };
    expect(apart(second["2048"], alone)).toBeLessThan(1e-5);
    expect(wide["2048"].shape).toEqual([1, 2048]);
  });
});

describe("weights", () => {
  /** All zeros: the formats without the size of the true ones would be those of another network. */
  const stored = (change: (shapes: Record<string, number[]>) => void) => {
    const shapes = { ...listed };
    change(shapes);
    const zeros = new Uint8Array(4 * 2048 * 1008);
    return Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [
        name,
        {
          shape,
          bytes: zeros.subarray(0, product(shape) * (isCount(name) ? 8 : 4)),
          type: isCount(name) ? "Long" : "Float",
        },
      ]),
    );
  };

  it("that do not fit are all named in one sentence", async () => {
    const wrong = stored((shapes) => {
      delete shapes["Mixed_7c.branch_pool.conv.weight"];
      shapes["fc.weight"] = [1000, 2048];
      shapes["AuxLogits.fc.bias"] = [10];
    });
    wrong["fc.bias"].type = "Int";
    writeFileSync(file("other.pth"), checkpointBytes(wrong));
    await expect(convertInception(file("other.pth"), file("other.safetensors"))).rejects.toThrow(
      `${file("other.pth")} does not hold the weights of FID's Inception-v3: 1 missing (Mixed_7c.branch_pool.conv.weight); ` +
        "1 unexpected (AuxLogits.fc.bias); 1 of another shape (fc.weight [1000, 2048] for [1008, 2048]); " +
        "1 of another type than float32 (fc.bias int32); give weights-inception-2015-12-05-6726825d.pth",
    );
  });

  it("of another network are refused by their names, and so is a file that is not there", async () => {
    const engine = await nodeEngine();
    writeFileSync(file("few.pth"), oldCheckpointBytes({ "conv.weight": { shape: [2, 2], bytes: new Uint8Array(16) } }));
    await expect(convertInception(file("few.pth"), file("few.safetensors"))).rejects.toThrow(
      /472 missing \(Conv2d_1a_3x3.conv.weight, \S+, \S+ and 469 more\); 1 unexpected \(conv.weight\); give/,
    );
    await expect(convertInception(file("none.pth"), file("x"))).rejects.toThrow("there is no such file");
    await expect(openInception(engine, file("none.safetensors"), ["2048"])).rejects.toThrow("there is no such file");
  });

  it("that are cut short are refused, and nothing is left behind", async () => {
    writeFileSync(file("cut.pth"), readFileSync(file("published.pth")));
    truncateSync(file("cut.pth"), 90_000_000);
    await expect(convertInception(file("cut.pth"), file("cut.safetensors"))).rejects.toThrow(/cut short or damaged/);
    await expect(openInception(await nodeEngine(), file("cut.safetensors"), all)).rejects.toThrow("no such file");
  });
});
