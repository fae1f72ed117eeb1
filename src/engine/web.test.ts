/**
 * The CPU provider of onnxruntime-web, which also runs in Node, compared with onnxruntime-node. The browser is tested
 * in src/web/studio.test.ts.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as runtime from "onnxruntime-web";
import { expect, it } from "vitest";
import { float32 } from "../core/arrays.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder } from "../files/model.ts";
import { add, input } from "../graph/build.ts";
import { writeOnnx } from "../graph/onnx.ts";
import { createSampler } from "../sample/sampler.ts";
import type { Engine } from "./engine.ts";
import { nodeEngine } from "./node.ts";
import { webEngine } from "./web.ts";

const folder = fileURLToPath(new URL("../../models/emoji", import.meta.url));
runtime.env.wasm.numThreads = 1;
runtime.env.logLevel = "fatal";

async function drawn(engine: Engine, seed: number): Promise<Uint8Array> {
  const sampler = createSampler(engine, externalModel(readModelFolder(folder)));
  const frames = sampler.sample({ labels: [7, 5], seed, iterations: [2, 2] });
  try {
    for (;;) {
      const next = await frames.next();
      if (next.done) return next.value;
    }
  } finally {
    await sampler.dispose();
  }
}

it("draws the same images from the included model as onnxruntime-node", async () => {
  const files = { "model.safetensors": new Uint8Array(readFileSync(join(folder, "model.safetensors"))) };
  const engine = await webEngine(runtime, { files });
  expect(engine.provider).toBe("cpu");
  const node = await nodeEngine();
  // Sums are rounded differently, so now and then a draw that is next to a boundary gets the neighbouring byte, and the
  // rest of its image differs: one image in ten here. Of six images at least four are equal to the byte.
  const equal: boolean[] = [];
  for (const seed of [0, 1, 2]) {
    const [ours, theirs] = [await drawn(engine, seed), await drawn(node, seed)];
    expect(ours.length).toBe(2 * 3072);
    for (const at of [0, 3072])
      equal.push(Buffer.compare(ours.subarray(at, at + 3072), theirs.subarray(at, at + 3072)) === 0);
  }
  expect(equal.filter(Boolean).length).toBeGreaterThanOrEqual(4);
});

it("writes outputs into the given arrays, and names a missing input", async () => {
  const engine = await webEngine(runtime);
  const session = await engine.session(writeOnnx({ y: add(input("x", "float32", [2]), 1) }));
  const y = float32([0, 0], [2]);
  const results = await session.run({ x: float32([1, 2], [2]) }, { y });
  expect([...y.data]).toEqual([2, 3]);
  expect(results.y).toBe(y);
  await expect(session.run({})).rejects.toThrow("run: the input x was not given");
  await session.dispose();
});

it("uses the CPU if there is no WebGPU, and says why", async () => {
  const engine = await webEngine(runtime, { provider: "webgpu" });
  expect(engine.provider).toBe("cpu");
  expect(engine.fallback).toMatch(/^webgpu is not available here: \S/);
});
