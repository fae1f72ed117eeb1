/**
 * The engine for Node, based on onnxruntime-node. `run` blocks the thread that calls it. Terminating a worker that is
 * inside `run` ends the whole process, unless it is a `GatedWorker`; so does using WebGPU in two threads at once.
 */

import { isMainThread } from "node:worker_threads";
import type * as Runtime from "onnxruntime-node";
import type { HostTensor, Value } from "../core/arrays.ts";
import type { Precision } from "../graph/form.ts";
import { byteProducts, type OnnxModel } from "../graph/onnx.ts";
import type { Engine, KeptRun, Provider, Session, SessionOptions } from "./engine.ts";
import { runtimeFailure } from "./failure.ts";
import { throughGate } from "./gate.ts";
import { dividedOutputs, locations } from "./kept.ts";
import { engineThreads } from "./threads.ts";
import { triedEngine } from "./trial.ts";

/** The options of `nodeEngine`. */
export interface NodeEngineOptions {
  provider?: Provider;
  /** Compute products in float16, for GPUs that support it; float32 by default. */
  precision?: Precision;
  /** Threads within an operation; by default FRACTALGEN_THREADS, or one per core. */
  threads?: number;
  /** Write onnxruntime's profile of every run to files with this prefix. */
  profile?: string;
}

/**
 * Creates an engine on the requested provider. If that provider cannot start here (no driver, no GPU, or its library is
 * not installed), uses the CPU and puts the reason into `fallback`; likewise float32 if it cannot compute in float16.
 */
export async function nodeEngine({
  provider = "cpu",
  precision = "float32",
  threads = engineThreads(),
  profile,
}: NodeEngineOptions = {}): Promise<Engine> {
  const runtime = await loadRuntime();
  const open =
    (chosen: Provider) =>
    async (model: OnnxModel, { folder, keepMemory = true, ...opening }: SessionOptions = {}) =>
      openSession(runtime, model, opening, {
        executionProviders: chosen === "cpu" ? ["cpu"] : [chosen, "cpu"],
        ...locations(chosen, model.outputs, opening.keep),
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
  return triedEngine({ provider, precision }, open);
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
  (exact ??= throughGate(async () => {
    const session = await runtime.InferenceSession.create(byteProducts(), { logSeverityLevel: 4 });
    const { y } = await session.run({ x: new runtime.Tensor("uint8", new Uint8Array(64).fill(255), [1, 64]) });
    await session.release();
    return y.data[0] === 64 * 255 * 127;
  }));

async function openSession(
  runtime: typeof Runtime,
  model: OnnxModel,
  { keep, check }: Pick<SessionOptions, "keep" | "check">,
  options: Runtime.InferenceSession.SessionOptions,
): Promise<Session> {
  const failure = (doing: string, hint: string) => (error: Error) => {
    throw runtimeFailure(error, { problem: `there is not enough memory to ${doing}`, hint });
  };
  const session = await throughGate(() => runtime.InferenceSession.create(model.bytes, options)).catch((error) => {
    check?.(); // a file that was replaced may be unreadable
    return failure("load this model", "close other programs or use a smaller one")(error);
  });
  try {
    check?.();
  } catch (error) {
    await throughGate(() => session.release());
    throw error;
  }
  const tensor = (value: Value) =>
    "held" in value
      ? (value.held as Runtime.OnnxValue)
      : (new runtime.Tensor(value.dtype, value.data as never, value.shape as number[]) as Runtime.OnnxValue);
  const results = async (feeds: Record<string, Value>, into: Record<string, HostTensor> = {}) => {
    const given: Record<string, Runtime.OnnxValue> = {};
    for (const name of session.inputNames) given[name] = tensor(feeds[name] ?? missing(name));
    const fetches: Record<string, Runtime.OnnxValue | null> = {};
    for (const name of session.outputNames) fetches[name] = into[name] ? tensor(into[name]) : null;
    const run = () => session.run(given, fetches as never);
    return throughGate(run).catch(failure("run this model", "use fewer images at a time"));
  };
  return {
    inputs: session.inputNames,
    runKept: async (feeds): Promise<KeptRun> => dividedOutputs(await results(feeds), keep),
    async run(feeds, into = {}) {
      const found = await results(feeds, into);
      const outputs: Record<string, HostTensor> = {};
      for (const name of session.outputNames) {
        const { type, dims, data } = found[name];
        outputs[name] = into[name] ?? ({ dtype: type, shape: dims, data } as HostTensor);
      }
      return outputs;
    },
    dispose: () => throughGate(() => session.release()),
  };
}

function missing(name: string): never {
  throw new Error(`run: the input ${name} was not given`);
}
