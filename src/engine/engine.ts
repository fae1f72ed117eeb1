/** The interface of engines, which run graphs. Node and browsers each have an implementation. */

import type { HostTensor } from "../core/arrays.ts";
import type { OnnxModel } from "../graph/onnx.ts";

/** The execution providers by name; `cpu` is always available. */
export type Provider = "cpu" | "webgpu" | "cuda";

/** Compiles graphs for an execution provider. Created by `nodeEngine` or `webEngine`. */
export interface Engine {
  /** The execution provider in use. */
  readonly provider: Provider;
  /** Why it is not the requested provider. */
  readonly fallback?: string;
  /** Compiles a model. */
  session(model: OnnxModel, options?: SessionOptions): Promise<Session>;
}

/** Options for compiling a graph. */
export interface SessionOptions {
  /** The folder of the file that the model's external data refers to. */
  folder?: string;
  /** Keep the memory of a run for the next one, which is faster; true by default. */
  keepMemory?: boolean;
}

/** A compiled graph. */
export interface Session {
  readonly inputs: readonly string[];
  /**
   * Inputs are not copied and must not change until the promise resolves. Outputs named in `into` are written in place.
   */
  run(feeds: Record<string, HostTensor>, into?: Record<string, HostTensor>): Promise<Record<string, HostTensor>>;
  /** Frees memory and threads. The session cannot be used afterwards. */
  dispose(): Promise<void>;
}
