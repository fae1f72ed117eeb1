/** Loads the build of onnxruntime that is needed: with WebGPU, or the smaller one without. */

import type * as Runtime from "onnxruntime-web";
import gpuScript from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import gpuBinary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import cpuScript from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import cpuBinary from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { fetchBytes, type SharedProgress } from "../files/fetching.ts";

/** Inserted by the build. */
declare const RUNTIME_BYTES: { wasm: number; webgpu: number };

/** More than one thread requires a cross-origin isolated page. */
export async function loadRuntime(
  { webgpu, threads }: { webgpu: boolean; threads: number },
  progress: SharedProgress,
): Promise<typeof Runtime> {
  const [mjs, wasm] = webgpu ? [gpuScript, gpuBinary] : [cpuScript, cpuBinary];
  const absolute = (url: string) => new URL(url, import.meta.url).href;
  const bytes = webgpu ? RUNTIME_BYTES.webgpu : RUNTIME_BYTES.wasm;
  // Fetched here because the runtime does not report download progress.
  const [module, binary] = await Promise.all([
    webgpu ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm"),
    fetchBytes(absolute(wasm), { what: "the program that runs the model", progress, bytes }),
  ]);
  const runtime = module as unknown as typeof Runtime;
  runtime.env.wasm.wasmPaths = { mjs: absolute(mjs) };
  runtime.env.wasm.wasmBinary = binary;
  runtime.env.wasm.numThreads = threads;
  runtime.env.logLevel = "fatal"; // failures are thrown
  return runtime;
}
