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

async function drawn(engine: Engine): Promise<Uint8Array> {
  const sampler = createSampler(engine, externalModel(readModelFolder(folder)));
  const frames = sampler.sample({ labels: [7, 5], seed: 0, iterations: [2, 2] });
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
  // Both round differently, so a draw next to a boundary can get another byte: 3 of 14 seeds have one such draw.
  const [ours, theirs] = [await drawn(engine), await drawn(await nodeEngine())];
  expect(ours.length).toBe(2 * 3072);
  expect(Buffer.compare(ours, theirs)).toBe(0);
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
