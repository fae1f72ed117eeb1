/**
 * Whole models on WebGPU reproduce the recorded bytes, and train as on the CPU. Needs a Vulkan driver, which may be a
 * software one.
 */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import type { Trained } from "../parity/provider-training.ts";
import type { Replay } from "../parity/providers.ts";
import { type VulkanDriver, vulkanDrivers } from "../parity/vulkan.ts";
import { built } from "../test-program.ts";
import { softwareWebGpuTests } from "../test-depth.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/parity/${name}`, import.meta.url));

/** In a separate process, because the environment at process start selects the driver. */
async function output<T>(program: string, env: Record<string, string>, ...rest: string[]): Promise<T> {
  const { stdout } = await promisify(execFile)(process.execPath, [built(program), ...rest], {
    env: { ...process.env, ...env },
  });
  return JSON.parse(stdout) as T;
}
const replay = (env: Record<string, string>, ...rest: string[]) => output<Replay>("parity/providers", env, ...rest);
const training = (env: Record<string, string>, ...rest: string[]) =>
  output<Trained>("parity/provider-training", env, ...rest);

/** On a software driver the cases take half a minute or more, mainly to compile shaders. */
const alsoBySoftware = softwareWebGpuTests.some;

let driver: VulkanDriver | undefined;
let reason = alsoBySoftware
  ? "no Vulkan driver is installed; Debian's chromium package brings a software one"
  : "no driver of a GPU is installed, and software takes minutes; FRACTALGEN_TEST_WEBGPU=1 tests it";

beforeAll(async () => {
  const failures: string[] = [];
  for (const candidate of vulkanDrivers(process.env)) {
    if (candidate.software && !alsoBySoftware) continue;
    const { fallback } = await replay(candidate.env, "webgpu", fixture("mar-3level"));
    if (!fallback) {
      driver = candidate;
      return;
    }
    failures.push(`with ${candidate.name}: ${fallback}`);
  }
  if (failures.length > 0) reason = failures.join("; ");
  console.warn(`WebGPU is not tested: ${reason}`); // only the verbose reporter shows the reason of a skip
});

describe("samples on WebGPU", () => {
  // Recorded uniforms are at least 1e-4 away from the boundary between bytes, so every value must match on any driver.
  it.for([
    ["mar-3level", { "sample.plain": 0.06, "sample.constant": 0.1 }],
    ["ar-3level", { "sample.plain": 0.07, "sample.guided": 0.07 }],
    ["mar-4level-guided", { "sample.guided": 0.02 }],
  ] as [string, Record<string, number>][])(
    "%s: the beginning of each is as recorded, every node on the GPU",
    async ([name, shares], context) => {
      if (!driver) return context.skip(reason);
      const parts = Object.entries(shares).map((part) => part.join("="));
      const { provider, samples, nodes, elsewhere } = await replay(driver.env, "webgpu", fixture(name), ...parts);
      expect(provider).toBe("webgpu");
      for (const sample of Object.keys(shares)) {
        expect(samples[sample].drawn, sample).toBeGreaterThan(50);
        expect(samples[sample].different, sample).toBe(0);
      }
      expect(nodes["WebGpuExecutionProvider"]).toBeGreaterThan(1000);
      expect(elsewhere).toEqual([]);
    },
  );
});

describe("the likelihood and two training steps on WebGPU", () => {
  it.for(["mar-3level", "ar-3level", "mar-4level-guided"])(
    "%s: conditions, losses, gradients and weights are as recorded",
    { timeout: 300_000 },
    async (name, context) => {
      if (!driver) return context.skip(reason);
      const args = [built("parity/main"), "--device", "webgpu", "--only", "evaluation,training", fixture(name)];
      const env = { ...process.env, ...driver.env };
      const { stdout } = await promisify(execFile)(process.execPath, args, { env }).catch((error) => error);
      expect(stdout).toMatch(/\n\d{3} agree, 0 differ\n$/);
    },
  );
});

describe("ten training steps on WebGPU", () => {
  it.for(["mar", "ar", "guided"])(
    "%s: losses, weights and likelihood as on the CPU, every node on the GPU",
    { timeout: 300_000 },
    async (kind, context) => {
      if (!driver) return context.skip(reason);
      const [gpu, cpu] = await Promise.all([
        training(driver.env, "webgpu", kind, "10"),
        training(driver.env, "cpu", kind, "10"),
      ]);
      expect(gpu.provider).toBe("webgpu");
      expect(gpu.losses).toHaveLength(10);
      expect(Math.abs(gpu.losses[9] - gpu.losses[0])).toBeGreaterThan(0.05); // it learns
      gpu.losses.forEach((loss, step) => {
        expect(Math.abs(loss - cpu.losses[step]), `loss of step ${step}`).toBeLessThan(1e-4);
        expect(Math.abs(gpu.norms[step] / cpu.norms[step] - 1), `norm of step ${step}`).toBeLessThan(1e-3);
      });
      expect(Math.abs(gpu.heldOut! - cpu.heldOut!)).toBeLessThan(1e-4);
      for (const [name, size] of Object.entries(cpu.weights))
        // Where a gradient is nearly zero, its rounding decides the sign of AdamW's first updates.
        expect(Math.abs(gpu.weights[name] - size) / Math.max(size, 1), name).toBeLessThan(1e-3);
      expect(gpu.nodes["WebGpuExecutionProvider"]).toBeGreaterThan(1000);
      expect(gpu.elsewhere).toEqual([]);
    },
  );
});
