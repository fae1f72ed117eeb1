/**
 * The engine for browsers, based on onnxruntime-web, for use in a page or its workers. `run` blocks the thread that
 * calls it, so call it from a worker. The caller chooses which build of the runtime is loaded, and from where.
 */

import type * as Runtime from "onnxruntime-web";
import type { HostTensor, Value } from "../core/arrays.ts";
import type { Precision } from "../graph/form.ts";
import type { OnnxModel } from "../graph/onnx.ts";
import type { Engine, Session, SessionOptions } from "./engine.ts";
import { memoryFailure } from "./failure.ts";
import { dividedOutputs, locations } from "./kept.ts";
import { triedEngine } from "./trial.ts";

/** The execution providers of onnxruntime-web by name; `cpu` is WebAssembly. */
export type WebProvider = "cpu" | "webgpu";

/** The options of `webEngine`. */
export interface WebEngineOptions {
  /** WebAssembly on the CPU by default. */
  provider?: WebProvider;
  /** Compute products in float16, for GPUs that support it; float32 by default. */
  precision?: Precision;
  /** The files that the external data of models refers to, by name. */
  files?: Readonly<Record<string, Uint8Array>>;
}

/**
 * Creates an engine on the requested provider. If that provider cannot start here, uses the CPU and puts the reason
 * into `fallback`; likewise float32 if it cannot compute in float16. Every session copies the data it needs from `files`.
 */
export async function webEngine(
  runtime: typeof Runtime,
  { provider = "cpu", precision = "float32", files = {} }: WebEngineOptions = {},
): Promise<Engine> {
  const externalData = Object.entries(files).map(([path, data]) => ({ path, data }));
  const open =
    (chosen: WebProvider) =>
    (model: OnnxModel, { keep }: SessionOptions = {}) =>
      openSession(runtime, model, keep, {
        ...locations(chosen, model.outputs, keep),
        executionProviders: [chosen === "cpu" ? "wasm" : chosen],
        graphOptimizationLevel: "all",
        logSeverityLevel: 4,
        externalData,
      });
  return triedEngine({ provider, precision }, open);
}

async function openSession(
  runtime: typeof Runtime,
  model: OnnxModel,
  keep: SessionOptions["keep"],
  options: Runtime.InferenceSession.SessionOptions,
): Promise<Session> {
  const session = await runtime.InferenceSession.create(model.bytes, options).catch(failure);
  const results = (feeds: Record<string, Value>) => {
    const given: Record<string, Runtime.Tensor> = {};
    for (const name of session.inputNames) {
      const feed = feeds[name];
      if (!feed) throw new Error(`run: the input ${name} was not given`);
      given[name] =
        "held" in feed
          ? (feed.held as Runtime.Tensor)
          : new runtime.Tensor(feed.dtype as "float32", feed.data as Float32Array, feed.shape);
    }
    return session.run(given).catch(failure);
  };
  return {
    inputs: session.inputNames,
    runKept: async (feeds) => dividedOutputs(await results(feeds), keep),
    // Outputs are copied to the given arrays, because the web runtime does not write into preallocated outputs.
    async run(feeds, into = {}) {
      const found = await results(feeds);
      const outputs: Record<string, HostTensor> = {};
      for (const name of session.outputNames) {
        const { type, dims, data } = found[name];
        outputs[name] = { dtype: type, shape: dims, data } as HostTensor;
        if (!into[name]) continue;
        into[name].data.set(data as never);
        outputs[name] = into[name];
      }
      return outputs;
    },
    dispose: () => session.release(),
  };
}

function failure(error: Error): never {
  throw memoryFailure(error, {
    problem: "there is not enough memory for this",
    hint: "draw fewer images at a time",
  });
}
