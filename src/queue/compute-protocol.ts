/** What a worker's main thread and its computing thread say to each other: one job at a time. */

import type { Provider } from "../engine/engine.ts";
import type { Job, Result } from "./jobs.ts";
import type { Traffic } from "./store.ts";

/** What the thread is started with. It answers `ready`. */
export interface ComputeStart {
  shared: string;
  cache: string;
  device: Provider;
  threads?: number;
}

export type ComputeMessage =
  /** Is answered by `done` or a failure. */
  | { kind: "run"; job: Job; area: string }
  /** Ends the job, which then fails. */
  | { kind: "stop" }
  /** Ends the thread. */
  | { kind: "close" };

export type ComputeAnswer = { kind: "ready" } | { kind: "done"; result: Result; traffic: Traffic };
