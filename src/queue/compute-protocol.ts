/** Messages between a worker's main thread and its compute thread, which runs one job at a time. */

import type { Provider } from "../engine/engine.ts";
import type { Job, Result } from "./jobs.ts";
import type { Traffic } from "./store.ts";

/** Start-up data of the compute thread. It answers `ready`. */
export interface ComputeStart {
  shared: string;
  cache: string;
  device: Provider;
  threads?: number;
}

export type ComputeMessage =
  /** Answered by `done` or a failure. */
  | { kind: "run"; job: Job; area: string }
  /** Aborts the job, which then fails. */
  | { kind: "stop" }
  /** Ends the thread. */
  | { kind: "close" };

export type ComputeAnswer = { kind: "ready" } | { kind: "done"; result: Result; traffic: Traffic };
