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

/** The weights' address and their size where it is known; the configuration was fetched by the page. */
export interface OpenRequest {
  model: { config: ModelConfig; weights: string; bytes?: number };
  device: DeviceWish;
  threads: number;
}

/** An image [S, S, C] of which the pixels with mask [S, S] 1 are redrawn, with `ring` patches more around them. */
export interface Edit {
  image: Uint8Array;
  mask: Uint8Array;
  ring?: number;
}

export interface DrawRequest extends SamplingSettings {
  labels: number[];
  seed: number;
  /** Redrawn once for each label. */
  edit?: Edit;
  /** This image is drawn before the others, so that there is something to see early. */
  first?: number;
}

/** A step of some level, as small as it can be sent and kept. */
export interface StepRecord {
  level: number;
  step: number;
  steps: number;
  /** Its number in the drawing of its images, from 0, where images are drawn after others and repeat the numbers. */
  at?: number;
  /** The squares that it finished: image, left and top of each, and their side in pixels. */
  image: Uint16Array;
  x: Uint16Array;
  y: Uint16Array;
  side: number;
  /** Where the step drew pixels, [squares, C] each: their bytes, how unsure the model was of each, in 32nds of a bit, */
  bytes?: Uint8Array;
  entropy?: Uint8Array;
  /** and -log2 of the probability that it was drawn with. */
  bits?: Float32Array;
}

/** What the model expected of one pixel: [C] each, and the probabilities [C, 256]. */
export interface Distribution {
  entropy: number[];
  /** Of the byte that was drawn. */
  chance: number[];
  probabilities: Float32Array;
}

export type ToWorker =
  | ({ kind: "open" } & OpenRequest)
  | { kind: "draw"; id: number; request: DrawRequest }
  | { kind: "cancel" }
  /** Of a pixel of the drawing with that id, one of the last few. */
  | { kind: "distribution"; id: number; drawing: number; image: number; pixel: number };

export type FromWorker =
  | { kind: "opening"; what: string; share?: number }
  | { kind: "ready"; device: Device }
  | { kind: "steps"; id: number; steps: StepRecord[]; done: number }
  | { kind: "drawn"; id: number; seconds: number; cancelled: boolean }
  | { kind: "distribution"; id: number; distribution?: Distribution }
  /** One sentence; `id` where it ends a drawing; `stopped` where the model cannot go on. */
  | { kind: "failed"; id?: number; message: string; stopped: boolean };
