/** Loads the build of onnxruntime that this browser needs: one with WebGPU, or the smaller one without. */

import type * as Runtime from "onnxruntime-web";
import gpuScript from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import gpuBinary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import cpuScript from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import cpuBinary from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

/** `threads` above 1 need a page that is isolated from other origins. */
export async function loadRuntime({ webgpu, threads }: { webgpu: boolean; threads: number }): Promise<typeof Runtime> {
  const module = webgpu ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  const runtime = module as unknown as typeof Runtime;
  const [mjs, wasm] = webgpu ? [gpuScript, gpuBinary] : [cpuScript, cpuBinary];
  const absolute = (url: string) => new URL(url, import.meta.url).href;
  runtime.env.wasm.wasmPaths = { mjs: absolute(mjs), wasm: absolute(wasm) };
  runtime.env.wasm.numThreads = threads;
  runtime.env.logLevel = "fatal"; // what fails is thrown
  return runtime;
}
