/**
 * The published code's results on WebGPU in Chromium: likelihoods, gradients, training steps and samples agree as they
 * do in Node. On a software driver each case takes half a minute or more, mainly to compile shaders.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import { readCase } from "../parity/case.ts";
import { softwareWebGpu } from "../parity/chromium.ts";
import { replayed } from "../parity/replay.ts";
import { shortTraining } from "../parity/short-training.ts";
import { compareEvaluation, compareTraining } from "../parity/teacher.ts";
import { createSampler } from "../sample/sampler.ts";
import { executablePath, patient } from "./test-page.ts";
import { type PageEngine, pageEngine } from "./test-page-engine.ts";
import { softwareWebGpuTests } from "../test-depth.ts";

const reason = !softwareWebGpuTests.some
  ? "software takes minutes; FRACTALGEN_TEST_WEBGPU=1 tests it"
  : executablePath === undefined
    ? "Chromium is not installed"
    : undefined;

describe.skipIf(reason)(`WebGPU in Chromium${reason ? ` (skipped: ${reason})` : ""}`, { timeout: 2 * patient }, () => {
  let engine: PageEngine;
  beforeAll(async () => {
    engine = await pageEngine(softwareWebGpu);
  });
  afterAll(() => engine?.close());
  const recorded = (name: string) => readCase(fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url)));

  it("is used", () => {
    expect([engine.provider, engine.fallback]).toEqual(["webgpu", undefined]);
  });

  it.each(["mar-3level", "ar-3level", "mar-4level-guided"])(
    "%s: conditions, likelihoods, losses, gradients and weights",
    async (name) => {
      const parityCase = await recorded(name);
      const results = [
        ...(await compareEvaluation(engine, parityCase)),
        ...(await compareTraining(engine, parityCase)),
      ];
      expect(results.length).toBeGreaterThan(200);
      expect(results.filter(({ ok }) => !ok)).toEqual([]);
    },
  );

  // Recorded uniforms are at least 1e-4 away from the boundary between bytes, so every value must match on any driver.
  it.each([
    ["mar-3level", "sample.constant", 0.1],
    ["ar-3level", "sample.guided", 0.07],
    ["mar-4level-guided", "sample.guided", 0.02],
  ])("%s: the beginning of %s is as recorded", async (name, sample, share) => {
    const parityCase = await recorded(name);
    const folder = mkdtempSync(join(tmpdir(), "fractalgen-page-"));
    await writeModelFolder(folder, parityCase.config, parityCase.weights);
    const sampler = createSampler(engine, externalModel(readModelFolder(folder)));
    const { drawn, different } = await replayed(sampler, parityCase, { name: sample, share });
    expect(drawn).toBeGreaterThan(50);
    expect(different).toBe(0);
    await sampler.dispose();
    rmSync(folder, { recursive: true });
  });

  // Checkpointing with guiding pixels compiles many graphs, which takes two minutes; FRACTALGEN_TEST_WEBGPU=all includes it.
  it.each(["mar", "ar", ...(softwareWebGpuTests.all ? ["guided"] : [])])(
    "%s: ten steps of training, with weights and moments kept on the device",
    async (kind) => {
      const gpu = await shortTraining(engine, kind, 10);
      const cpu = await shortTraining(await nodeEngine({ threads: 1 }), kind, 10);
      expect(Math.abs(gpu.losses[9] - gpu.losses[0])).toBeGreaterThan(0.05); // it learns
      gpu.losses.forEach((loss, step) => expect(Math.abs(loss - cpu.losses[step]), `step ${step}`).toBeLessThan(1e-4));
      expect(Math.abs(gpu.heldOut! - cpu.heldOut!)).toBeLessThan(1e-4);
      for (const [name, size] of Object.entries(cpu.weights))
        expect(Math.abs(gpu.weights[name] - size) / Math.max(size, 1), name).toBeLessThan(1e-3);
    },
  );
});
