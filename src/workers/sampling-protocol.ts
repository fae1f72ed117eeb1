/** What a sampling thread and the thread that it draws for say to each other: one task at a time. */

import type { Frame, SampleOptions } from "../sample/sampler.ts";
import type { Thread } from "./thread.ts";

/** What a thread is started with. It answers `ready` once its model is loaded. */
export interface SamplingStart {
  folder: string;
  threads: number;
}

/** What a thread draws; all plain data. */
export type SamplingTask = Omit<SampleOptions, "signal" | "signals" | "draws">;

export type SamplingMessage =
  /** Is answered by `frame`s and one `finished`. */
  | { kind: "draw"; task: SamplingTask }
  /** An image of the task is not wanted any more. */
  | { kind: "gone"; image: number }
  /** Ends the task, if there is one; it is `finished` at once. */
  | { kind: "stop" }
  /** Ends the thread. */
  | { kind: "close" };

/** A frame without its pictures; the bytes of the pixels that it finished, where it finished single ones. */
export type SamplingFrame = Omit<Frame, "images"> & { bytes?: Uint8Array };

export type SamplingAnswer = { kind: "ready" } | { kind: "frame"; frame: SamplingFrame } | { kind: "finished" };

export type SamplingThread = Thread<SamplingMessage, SamplingAnswer>;
