/** The interface of engines, which run graphs. Node and browsers each have an implementation. */

import type { DeviceTensor, HostTensor, Value } from "../core/arrays.ts";
import type { Precision } from "../graph/form.ts";
import type { OnnxModel } from "../graph/onnx.ts";

/** The execution providers by name; `cpu` is always available. */
export type Provider = "cpu" | "webgpu" | "cuda";

/** Compiles graphs for an execution provider. Created by `nodeEngine` or `webEngine`. */
export interface Engine {
  /** The execution provider in use. */
  readonly provider: Provider;
  /** Why it is not the requested provider, or not the requested precision. */
  readonly fallback?: string;
  /** The precision in which models should be written for it; float32 by default. */
  readonly precision?: Precision;
  /** Compiles a model. */
  session(model: OnnxModel, options?: SessionOptions): Promise<Session>;
}

/** Options for compiling a graph. */
export interface SessionOptions {
  /** The folder of the file that the model's external data refers to. */
  folder?: string;
  /** Called when that file has been read, or could not be; throws if it is no longer the one that was meant. */
  check?: () => void;
  /** Keep the memory of a run for the next one, which is faster; true by default. */
  keepMemory?: boolean;
  /** Selects the outputs that `runKept` leaves in the device's memory; none by default. */
  keep?: (output: string) => boolean;
}

/** The results of a run: the outputs that were copied to the host, and those that stayed on the device. */
export interface KeptRun {
  outputs: Record<string, HostTensor>;
  kept: Record<string, DeviceTensor>;
}

/** A compiled graph. */
export interface Session {
  readonly inputs: readonly string[];
  /**
   * Inputs are not copied and must not change until the promise resolves. Outputs named in `into` are written in place.
   */
  run(feeds: Record<string, Value>, into?: Record<string, HostTensor>): Promise<Record<string, HostTensor>>;
  /** The same for a session with `keep`, whose outputs are returned in two parts. The caller disposes the kept ones. */
  runKept(feeds: Record<string, Value>): Promise<KeptRun>;
  /** Frees memory and threads. The session cannot be used afterwards. */
  dispose(): Promise<void>;
}
