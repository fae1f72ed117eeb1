/** The messages between a sampling thread and its owner. A thread draws one task at a time. */

import type { ModelConfig } from "../config/model.ts";
import type { Frame, SampleOptions } from "../sample/sampler.ts";
import type { Thread } from "./thread.ts";

/** A thread's start data. The thread answers `ready` when its model is loaded. */
export interface SamplingStart {
  folder: string;
  config: ModelConfig;
  threads: number;
}

/** The images for a thread to draw, as plain data. */
export type SamplingTask = Omit<SampleOptions, "signal" | "signals" | "draws">;

export type SamplingMessage =
  /** Answered by `frame`s and then one `finished`. */
  | { kind: "draw"; task: SamplingTask }
  /** An image of the task is no longer needed. */
  | { kind: "gone"; image: number }
  /** Stops the task, if there is one; `finished` follows. */
  | { kind: "stop" }
  /** Ends the thread. */
  | { kind: "close" };

/** A frame without images. If it finished single pixels, `bytes` are theirs. */
export type SamplingFrame = Omit<Frame, "images"> & { bytes?: Uint8Array };

export type SamplingAnswer = { kind: "ready" } | { kind: "frame"; frame: SamplingFrame } | { kind: "finished" };

export type SamplingThread = Thread<SamplingMessage, SamplingAnswer>;
