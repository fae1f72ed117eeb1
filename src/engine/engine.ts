/** What runs graphs, wherever it runs them. The Node and the browser engines are two of these. */

import type { HostTensor } from "../core/arrays.ts";
import type { OnnxModel } from "../graph/onnx.ts";

export type Provider = "cpu" | "webgpu" | "cuda";

export interface Engine {
  /** The execution provider in use. */
  readonly provider: Provider;
  /** Why it is not the one that was asked for. */
  readonly fallback?: string;
  /** Compiles a model. `folder` holds the file that its external data names. */
  session(model: OnnxModel, options?: { folder?: string }): Promise<Session>;
}

export interface Session {
  readonly inputs: readonly string[];
  /** Inputs are not copied and must stay unchanged until the promise resolves. `into` receives outputs in place. */
  run(feeds: Record<string, HostTensor>, into?: Record<string, HostTensor>): Promise<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}
