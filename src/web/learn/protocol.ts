/** Messages between the page and the worker that trains. */

import type { Device } from "../protocol.ts";

/** Pixels per side of a picture. */
export const side = 16;
/** The number of pictures that the model draws at a time. */
export const drawnAtOnce = 16;

/** What to learn: a class's name, and its pictures, RGB bytes [n, side, side, 3]. Held-out ones are only measured. */
export interface Lesson {
  name: string;
  train: Uint8Array;
  heldOut: Uint8Array;
}

export type LessonProgress =
  /** `bits` per byte of this step's pictures; `seconds` the time of the step. */
  | { kind: "step"; step: number; bits: number; seconds: number }
  /** `bits` per byte of the held-out pictures, with averaged weights. */
  | { kind: "heldOut"; step: number; bits: number }
  /** Pictures drawn with averaged weights, [drawnAtOnce, side, side, 3], always from the same random numbers. */
  | { kind: "samples"; step: number; images: Uint8Array };

export type ToTrainer =
  | { kind: "start"; lesson: Lesson; device: Device["provider"] }
  | { kind: "pause" }
  | { kind: "resume" };

export type FromTrainer =
  | { kind: "opening"; share: number }
  /** `reason` is a sentence if the device is not the requested one. */
  | { kind: "ready"; device: Device["provider"]; reason?: string }
  | LessonProgress
  /** No step follows until training is resumed. */
  | { kind: "paused" }
  | { kind: "ended" }
  /** `message` is one sentence. */
  | { kind: "failed"; message: string };
