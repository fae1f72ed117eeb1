/** How many images a sampler draws at once, by device and memory. */

import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Engine } from "../engine/engine.ts";
import { readModelFolder } from "../files/model.ts";
import { samplingBytes, sizeOf } from "../sample/memory.ts";
import { settingsOf } from "../sample/settings.ts";
import { openSampler, type SamplerOptions } from "./sampler.ts";

const model = readModelFolder(fileURLToPath(new URL("../../models/emoji", import.meta.url)));
const settings = settingsOf({}, model.config);
const weightBytes = [...model.weights.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
const bytes = (batch: number) =>
  samplingBytes(model.config, { ...sizeOf(model.config, settings), batch, lanes: 1, weightBytes, onGpu: true });

/** Opening a sampler compiles nothing, so the engine needs only a name. */
const on = async (provider: Engine["provider"], options: Partial<SamplerOptions>): Promise<number> => {
  const engine: Engine = { provider, session: () => Promise.reject(new Error("not to be used")) };
  const { sampler, batch } = openSampler(engine, model, { ...settings, count: 1000, threads: 1, ...options });
  await sampler.dispose();
  return batch;
};

afterEach(() => vi.unstubAllEnvs());

describe("images at once", () => {
  it("on the CPU: 16, fewer if memory is short", async () => {
    expect(await on("cpu", {})).toBe(16);
    expect(await on("cpu", { batch: 40 })).toBe(40);
    expect(await on("cpu", { memory: bytes(4) })).toBeGreaterThanOrEqual(4);
    expect(await on("cpu", { memory: bytes(4) })).toBeLessThan(16);
  });

  it("on a GPU: as many as fit, at most 256", async () => {
    expect(await on("webgpu", { memory: 1e12 })).toBe(256);
    expect(await on("webgpu", { memory: bytes(64) })).toBe(64);
    expect(await on("webgpu", { memory: 1e12, count: 7 })).toBe(7);
    expect(await on("webgpu", { memory: bytes(64), batch: 8 })).toBe(8);
    await expect(on("webgpu", { memory: 1e6 })).rejects.toThrow(/memory even for one image/);
  });

  it("on a GPU whose memory is unknown: as many as fit in 2 GB, or as asked", async () => {
    vi.stubEnv("PATH", "/nowhere"); // no nvidia-smi
    const batch = await on("webgpu", {});
    expect(bytes(batch)).toBeLessThan(2e9);
    expect(bytes(2 * batch)).toBeGreaterThan(Math.min(2e9, bytes(511)));
    expect(await on("webgpu", { batch: 1000 })).toBe(1000);
  });
});
