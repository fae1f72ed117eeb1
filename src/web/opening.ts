/** A sampler on the device that a page asks for, checked before it is used. */

import type { Engine } from "../engine/engine.ts";
import { webEngine } from "../engine/web.ts";
import { createSampler, type Sampler } from "../sample/sampler.ts";
import { sharedProgress } from "./fetching.ts";
import { fetchModel } from "./model.ts";
import type { Device, DeviceWish, OpenRequest } from "./protocol.ts";
import { loadRuntime } from "./runtime.ts";
import { selfCheck } from "./self-check.ts";

export interface Opened {
  sampler: Sampler;
  device: Device;
}

/** `say` is told what is going on, and of what takes long the share that is done. */
export async function openModel(
  { model: from, device: wish, threads }: OpenRequest,
  say: (what: string, share?: number) => void,
): Promise<Opened> {
  say("Fetching the model");
  const missing = wish === "wasm" ? "WASM was chosen." : await missingGpu(wish);
  const progress = sharedProgress((share) => say("Fetching the model", share));
  const [model, runtime] = await Promise.all([
    fetchModel(from, progress),
    loadRuntime({ webgpu: missing === undefined, threads }, progress),
  ]);
  say("Starting the model");
  const { files } = model;
  const wasm = await webEngine(runtime, { files });
  const on = (engine: Engine, reason: string): Opened => ({
    sampler: createSampler(engine, model),
    device: { provider: engine.provider === "webgpu" ? "webgpu" : "wasm", threads, reason },
  });
  if (missing !== undefined) return on(wasm, missing);

  const gpu = await webEngine(runtime, { provider: "webgpu", files });
  if (gpu.fallback) {
    console.error(gpu.fallback);
    return on(wasm, "WebGPU did not start here, so WASM is used.");
  }
  say("Checking WebGPU against WASM");
  try {
    const { agrees, bytes, differentBytes, difference } = await selfCheck(wasm, gpu, model);
    const equal = `${bytes - differentBytes} of ${bytes} bytes equal, values within ${difference.toExponential(0)}`;
    return agrees
      ? on(gpu, `WebGPU was checked against WASM: ${equal}.`)
      : on(wasm, `WebGPU computes something else than WASM here (${equal}), so WASM is used.`);
  } catch (error) {
    console.error(error);
    return on(wasm, "WebGPU failed its check at the start, so WASM is used.");
  }
}

/** What is needed of WebGPU's types, which TypeScript's DOM library does not have yet. */
interface Gpu {
  requestAdapter(): Promise<{ info?: { isFallbackAdapter?: boolean }; isFallbackAdapter?: boolean } | null>;
}

/** Why there is no graphics processor to use, or nothing. */
async function missingGpu(wish: DeviceWish): Promise<string | undefined> {
  const gpu = (navigator as { gpu?: Gpu }).gpu;
  if (!gpu) return "This browser has no WebGPU.";
  const adapter = await gpu.requestAdapter().catch(() => null);
  if (!adapter) return "WebGPU finds no graphics processor here.";
  const software = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
  return software && wish === "auto" ? "WebGPU would only be emulated by the processor here." : undefined;
}
