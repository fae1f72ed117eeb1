/** What runs graphs, wherever it runs them. The Node and the browser engines are two of these. */

import type { HostTensor } from "../core/arrays.ts";
import type { OnnxModel } from "../graph/onnx.ts";

/** The execution providers by name; `cpu` is always available. */
export type Provider = "cpu" | "webgpu" | "cuda";

/** Compiles graphs for an execution provider. `nodeEngine` and `webEngine` make one. */
export interface Engine {
  /** The execution provider in use. */
  readonly provider: Provider;
  /** Why it is not the one that was asked for. */
  readonly fallback?: string;
  /** Compiles a model. */
  session(model: OnnxModel, options?: SessionOptions): Promise<Session>;
}

/** How a graph is compiled. */
export interface SessionOptions {
  /** Holds the file that the model's external data names. */
  folder?: string;
  /** Keep the memory of a run for the next, which is faster: the default. */
  keepMemory?: boolean;
}

/** A compiled graph. */
export interface Session {
  readonly inputs: readonly string[];
  /** Inputs are not copied and must stay unchanged until the promise resolves. `into` receives outputs in place. */
  run(feeds: Record<string, HostTensor>, into?: Record<string, HostTensor>): Promise<Record<string, HostTensor>>;
  /** Frees its memory and threads. It cannot be used afterwards. */
  dispose(): Promise<void>;
}
