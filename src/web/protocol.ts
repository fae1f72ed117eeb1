/** What the page and the worker that runs the model say to each other. */

import type { ModelConfig } from "../config/model.ts";
import type { SamplingSettings } from "../config/sampling.ts";

/** Where the model should run; `auto` is WebGPU where it agrees with WASM, else WASM. */
export type DeviceWish = "auto" | "webgpu" | "wasm";

export interface Device {
  provider: "webgpu" | "wasm";
  threads: number;
  /** What the check at the start found, or why there was none: one sentence. */
  reason: string;
}

export interface DrawRequest extends SamplingSettings {
  labels: number[];
  seed: number;
  /** An image [S, S, C] of which the pixels with mask [S, S] 1 are drawn anew, once for each label. */
  edit?: { image: Uint8Array; mask: Uint8Array };
}

/** A step of some level, as small as it can be sent and kept. */
export interface StepRecord {
  level: number;
  step: number;
  steps: number;
  /** The squares that it finished: image, left and top of each, and their side in pixels. */
  image: Uint16Array;
  x: Uint16Array;
  y: Uint16Array;
  side: number;
  /** Where the step drew pixels, their bytes and how unsure the model was of each, in 32nds of a bit: [squares, C]. */
  bytes?: Uint8Array;
  entropy?: Uint8Array;
}

/** What the model expected of one pixel: [C] each, and the probabilities [C, 256]. */
export interface Distribution {
  entropy: number[];
  /** Of the byte that was drawn. */
  chance: number[];
  probabilities: Float32Array;
}

export type ToWorker =
  | { kind: "open"; model: string; device: DeviceWish; threads: number }
  | { kind: "draw"; id: number; request: DrawRequest }
  | { kind: "cancel" }
  /** Of a pixel of the drawing with that id, one of the last few. */
  | { kind: "distribution"; id: number; drawing: number; image: number; pixel: number };

export type FromWorker =
  | { kind: "opening"; what: string; share?: number }
  | { kind: "ready"; config: ModelConfig; device: Device }
  | { kind: "steps"; id: number; steps: StepRecord[]; done: number }
  | { kind: "drawn"; id: number; seconds: number; cancelled: boolean }
  | { kind: "distribution"; id: number; distribution?: Distribution }
  /** One sentence; `id` where it ends a drawing. */
  | { kind: "failed"; id?: number; message: string };
