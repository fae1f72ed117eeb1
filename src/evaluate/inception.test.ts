/** The network and files of its weights. `parity/features.test.ts` compares with torch-fidelity's features. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HostTensor, product, uint8 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { isCount } from "../files/inception.ts";
import { readSafetensors } from "../files/safetensors.ts";
import { oldCheckpointBytes } from "../files/test-old-torch.ts";
import { checkpointBytes } from "../files/test-torch.ts";
import { floatingPointOperations } from "../graph/cost.ts";
import { readFeatures, readParameters, syntheticParameter } from "../parity/features.ts";
import { inceptionGraph, inceptionParameters } from "./inception.ts";
import { openInception, openInceptionConversion } from "./inception-features.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/metrics", import.meta.url));
const listed = readParameters(join(fixtures, "inception-parameters.json"));
const names = Object.keys(listed).filter((name) => !isCount(name));

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);
const folder = mkdtempSync(join(tmpdir(), "fractalgen-inception-"));
const file = (name: string) => join(folder, name);

async function convert(path: string, out: string, progress: number[] = []): Promise<void> {
  const conversion = await openInceptionConversion(file(path));
  try {
    await conversion.write(file(out), { onProgress: (done, total) => progress.push(done / total) });
  } finally {
    await conversion.close();
  }
}

beforeAll(async () => {
  const weights = Object.fromEntries(
    names.map((name) => [name, { shape: listed[name], bytes: bytesOf(syntheticParameter(name, listed[name])) }]),
  );
  writeFileSync(file("published.pth"), oldCheckpointBytes(weights));
  await convert("published.pth", "inception.safetensors");
});
afterAll(() => rmSync(folder, { recursive: true }));

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

it("returns only the requested features, the same for an image alone as in a batch, and accepts any width", async () => {
  const [{ images }] = readFeatures(join(fixtures, "inception.safetensors"));
  const { shape, data } = images;
  const network = await openInception(await nodeEngine(), file("inception.safetensors"), ["2048"]);
  const both = await network.run(images);
  const second = await network.run(uint8(data.slice(data.length / 2), [1, ...shape.slice(1)]));
  const wide = await network.run(uint8(data.slice(0, 40 * 64 * 3), [1, 40, 64, 3]));
  await network.dispose();
  expect(Object.keys(both)).toEqual(["2048"]);
  expect([both["2048"].shape, second["2048"].shape, wide["2048"].shape]).toEqual([[2, 2048], [1, 2048], [1, 2048]]); // prettier-ignore
  const alone = both["2048"].data.slice(2048);
  const largest = alone.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const apart = alone.reduce((most, value, i) => Math.max(most, Math.abs(value - second["2048"].data[i])), 0);
  expect(apart / largest).toBeLessThan(1e-5);
});

describe("weights", () => {
  it("are converted value for value, with progress to the end", async () => {
    const progress: number[] = [];
    await convert("published.pth", "again.safetensors", progress);
    expect(progress).toHaveLength(names.length);
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    const { tensors } = readSafetensors(file("again.safetensors"));
    expect([...tensors.keys()].sort()).toEqual(names.toSorted());
    for (const name of ["fc.bias", "Mixed_6e.branch7x7_2.conv.weight", "Conv2d_1a_3x3.bn.running_var"]) {
      const { shape, data } = tensors.get(name) as HostTensor<Float32Array>;
      expect(shape).toEqual(listed[name]);
      expect(Buffer.compare(bytesOf(data), bytesOf(syntheticParameter(name, listed[name]))), name).toBe(0);
    }
  });

  it("are not written if the signal stops the conversion", async () => {
    const conversion = await openInceptionConversion(file("published.pth"));
    const controller = new AbortController();
    const onProgress = (done: number, total: number) => done > total / 2 && controller.abort(new Error("enough"));
    await expect(
      conversion.write(file("stopped.safetensors"), { onProgress, signal: controller.signal }),
    ).rejects.toThrow("enough");
    await conversion.close();
    expect(readdirSync(folder).filter((name) => name.includes("stopped"))).toEqual([]);
  });

  /** Parameters of the true shapes, all zeros, with a change. */
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

  it("that do not fit are listed in one sentence", async () => {
    const wrong = stored((shapes) => {
      delete shapes["Mixed_7c.branch_pool.conv.weight"];
      shapes["fc.weight"] = [1000, 2048];
      shapes["AuxLogits.fc.bias"] = [10];
    });
    wrong["fc.bias"].type = "Int";
    writeFileSync(file("other.pth"), checkpointBytes(wrong));
    await expect(convert("other.pth", "other.safetensors")).rejects.toThrow(
      `${file("other.pth")} does not hold the weights of FID's Inception-v3: 1 missing (Mixed_7c.branch_pool.conv.weight); ` +
        "1 unexpected (AuxLogits.fc.bias); 1 with the wrong shape (fc.weight [1000, 2048] instead of [1008, 2048]); " +
        "1 with a type other than float32 (fc.bias int32); use weights-inception-2015-12-05-6726825d.pth",
    );
  });

  it("of another network are refused with their names, and so is a missing file", async () => {
    const engine = await nodeEngine();
    writeFileSync(file("few.pth"), oldCheckpointBytes({ "conv.weight": { shape: [2, 2], bytes: new Uint8Array(16) } }));
    await expect(convert("few.pth", "few.safetensors")).rejects.toThrow(
      /472 missing \(Conv2d_1a_3x3.conv.weight, \S+, \S+ and 469 more\); 1 unexpected \(conv.weight\); use/,
    );
    await expect(convert("none.pth", "x")).rejects.toThrow("there is no such file");
    await expect(openInception(engine, file("none.safetensors"), ["2048"])).rejects.toThrow("there is no such file");
  });

  it("that are truncated are refused, and nothing is left behind", async () => {
    writeFileSync(file("cut.pth"), readFileSync(file("published.pth")));
    truncateSync(file("cut.pth"), 90_000_000);
    await expect(convert("cut.pth", "cut.safetensors")).rejects.toThrow(/truncated or damaged/);
    await expect(openInception(await nodeEngine(), file("cut.safetensors"), ["64"])).rejects.toThrow("no such file");
  });
});
