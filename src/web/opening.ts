/** Opens a sampler on the requested device, and checks the device before use. */

import type { Engine } from "../engine/engine.ts";
import { webEngine } from "../engine/web.ts";
import { fetchWeights } from "../files/fetched-model.ts";
import { sharedProgress } from "../files/fetching.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import type { Device, DeviceWish, OpenRequest } from "./protocol.ts";
import { loadRuntime } from "./runtime.ts";
import { selfCheck } from "./self-check.ts";

export interface Opened {
  sampler: Sampler;
  device: Device;
}

/** `say` receives the current activity and, for long ones, the fraction that is done. */
export async function openModel(
  { model: { config, weights: url, bytes: size }, device: wish, threads }: OpenRequest,
  say: (what: string, share?: number) => void,
): Promise<Opened> {
  say("Fetching the model");
  const missing = wish === "wasm" ? "WASM was chosen." : await missingGpu(wish);
  const progress = sharedProgress((share) => say("Fetching the model", share));
  const [model, runtime] = await Promise.all([
    fetchWeights(config, { url, bytes: size, progress }),
    loadRuntime({ webgpu: missing === undefined, threads }, progress),
  ]);
  say("Starting the model");
  const { files } = model;
  const wasm = await webEngine(runtime, { files });
  const on = (engine: Engine, reason: string): Opened => ({
    sampler: createSampler(engine, model),
    device: {
      provider: engine.provider === "webgpu" ? "webgpu" : "wasm",
      precision: engine.precision ?? "float32",
      threads,
      reason,
    },
  });
  if (missing !== undefined) return on(wasm, missing);

  const precision = wish === "webgpu-float16" ? "float16" : "float32";
  const gpu = await webEngine(runtime, { provider: "webgpu", precision, files });
  if (gpu.fallback) console.error(gpu.fallback);
  if (gpu.provider === "cpu") return on(wasm, "WebGPU did not start, so WASM is used.");
  const note = gpu.fallback ? " It has no float16, so float32 is used." : "";
  say("Checking WebGPU against WASM");
  try {
    const { agrees, bytes, differentBytes, difference } = await selfCheck(wasm, gpu, model);
    const equal = `${bytes - differentBytes} of ${bytes} bytes equal, values within ${difference.toExponential(0)}`;
    return agrees
      ? on(gpu, `WebGPU was checked against WASM: ${equal}.${note}`)
      : on(wasm, `WebGPU gave different results from WASM (${equal}), so WASM is used.`);
  } catch (error) {
    console.error(error);
    return on(wasm, "WebGPU failed its startup check, so WASM is used.");
  }
}

/** The part of WebGPU's types used here, which TypeScript's DOM library does not have yet. */
interface Gpu {
  requestAdapter(): Promise<{ info?: { isFallbackAdapter?: boolean }; isFallbackAdapter?: boolean } | null>;
}

/** Returns why WebGPU cannot be used, or undefined if it can. */
async function missingGpu(wish: DeviceWish): Promise<string | undefined> {
  const gpu = (navigator as { gpu?: Gpu }).gpu;
  if (!gpu) return "This browser has no WebGPU.";
  const adapter = await gpu.requestAdapter().catch(() => null);
  if (!adapter) return "WebGPU found no graphics processor.";
  const software = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
  return software && wish === "auto" ? "WebGPU would only be emulated on the CPU." : undefined;
}
