/**
 * The engine for Node, based on onnxruntime-node. `run` blocks the thread that calls it. Terminating a worker that is
 * inside `run`, or using WebGPU in two threads at once, ends the whole process: let workers finish, and use the GPU
 * from one thread only.
 */

import { isMainThread } from "node:worker_threads";
import type * as Runtime from "onnxruntime-node";
import type { HostTensor } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { byteProducts, type OnnxModel } from "../graph/onnx.ts";
import type { Engine, Provider, Session, SessionOptions } from "./engine.ts";
import { threadsOfEnvironment } from "./threads.ts";
import { trialFailure } from "./trial.ts";

/** The options of `nodeEngine`. */
export interface NodeEngineOptions {
  provider?: Provider;
  /** Threads within an operation; by default FRACTALGEN_THREADS, or one per core. */
  threads?: number;
  /** Write onnxruntime's profile of every run to files with this prefix. */
  profile?: string;
}

/**
 * Creates an engine on the requested provider. If that provider cannot start here (no driver, no GPU, or its library is
 * not installed), uses the CPU and puts the reason into `fallback`.
 */
export async function nodeEngine({
  provider = "cpu",
  threads = threadsOfEnvironment(),
  profile,
}: NodeEngineOptions = {}): Promise<Engine> {
  const runtime = await loadRuntime();
  const open =
    (chosen: Provider) =>
    async (model: OnnxModel, { folder, keepMemory = true }: SessionOptions = {}) =>
      openSession(runtime, model, {
        executionProviders: chosen === "cpu" ? ["cpu"] : [chosen, "cpu"],
        graphOptimizationLevel: "all",
        enableCpuMemArena: keepMemory,
        enableMemPattern: keepMemory,
        logSeverityLevel: 4,
        ...(threads ? { intraOpNumThreads: threads } : {}),
        ...(profile ? { enableProfiling: true, profileFilePrefix: profile } : {}),
        extra: {
          session: {
            // Each session has its own threads. Waiting threads must not take cores from the running session, so they
            // stop spinning after a run. During a run they spin, because small operations finish before a sleeping
            // thread would wake.
            force_spinning_stop: "1",
            ...(model.multipliesBytes && !(await exactBytes(runtime)) ? { x64quantprecision: "1" } : {}),
            ...(folder ? { model_external_initializers_file_folder_path: folder } : {}),
          },
        },
      });
  if (provider !== "cpu") {
    const reason = await trialFailure(open(provider));
    if (reason)
      return { provider: "cpu", fallback: `${provider} is not available here: ${reason}`, session: open("cpu") };
  }
  return { provider, session: open(provider) };
}

const noTelemetry = "ORT_DISABLE_TELEMETRY";

/**
 * Prevents onnxruntime from writing usage records to the user's home folder and sending them, which version 1.30 does
 * by default. onnxruntime checks this when it is first loaded. `nodeEngine` calls this function itself, but a worker's
 * environment is a copy that the library does not see, so call it in the main thread before starting a worker that
 * creates an engine.
 */
export function disableTelemetry(): void {
  process.env[noTelemetry] = "1";
}

async function loadRuntime(): Promise<typeof Runtime> {
  if (!isMainThread && process.env[noTelemetry] !== "1")
    throw new Error(
      "nodeEngine: a worker cannot turn onnxruntime's telemetry off; call disableTelemetry() in the main thread before starting it",
    );
  disableTelemetry();
  const module = await import("onnxruntime-node");
  const runtime = (module as unknown as { default?: typeof Runtime }).default ?? module;
  runtime.env.logLevel = "fatal"; // failures are thrown or reported in `fallback`, so nothing needs to be logged as well
  return runtime;
}

let exact: Promise<boolean> | undefined;

/** Whether this processor multiplies bytes exactly, tested once. If not, onnxruntime has a slower exact method. */
const exactBytes = (runtime: typeof Runtime): Promise<boolean> =>
  (exact ??= (async () => {
    const session = await runtime.InferenceSession.create(byteProducts(), { logSeverityLevel: 4 });
    const { y } = await session.run({ x: new runtime.Tensor("uint8", new Uint8Array(64).fill(255), [1, 64]) });
    await session.release();
    return y.data[0] === 64 * 255 * 127;
  })());

async function openSession(
  runtime: typeof Runtime,
  model: OnnxModel,
  options: Runtime.InferenceSession.SessionOptions,
): Promise<Session> {
  const memoryError = (doing: string) => (error: Error) => {
    throw /bad_alloc|Failed to allocate/i.test(error.message)
      ? new UserError(`there is not enough memory to ${doing}`)
      : error;
  };
  const session = await runtime.InferenceSession.create(model.bytes, options).catch(
    memoryError("load this model; close other programs or use a smaller one"),
  );
  const tensor = ({ dtype, data, shape }: HostTensor) =>
    new runtime.Tensor(dtype, data as never, shape as number[]) as Runtime.OnnxValue;
  return {
    inputs: session.inputNames,
    async run(feeds, into = {}) {
      const given: Record<string, Runtime.OnnxValue> = {};
      for (const name of session.inputNames) given[name] = tensor(feeds[name] ?? missing(name));
      const fetches: Record<string, Runtime.OnnxValue | null> = {};
      for (const name of session.outputNames) fetches[name] = into[name] ? tensor(into[name]) : null;
      const results = await session
        .run(given, fetches as never)
        .catch(memoryError("run this model; use fewer images at a time"));
      const outputs: Record<string, HostTensor> = {};
      for (const name of session.outputNames) {
        const { type, dims, data } = results[name];
        outputs[name] = into[name] ?? ({ dtype: type, shape: dims, data } as HostTensor);
      }
      return outputs;
    },
    dispose: () => session.release(),
  };
}

function missing(name: string): never {
  throw new Error(`run: the input ${name} was not given`);
}
