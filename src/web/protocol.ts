/** Messages between the page and the worker that runs the model. */

import type { ModelConfig } from "../config/model.ts";
import type { SamplingSettings } from "../config/sampling.ts";

/** Where the model should run; `auto` is WebGPU if it agrees with WASM, otherwise WASM. */
export const deviceWishes = ["auto", "webgpu", "webgpu-float16", "wasm"] as const;
export type DeviceWish = (typeof deviceWishes)[number];

/** The wishes in the page's list. */
export const deviceLabels: Readonly<Record<DeviceWish, string>> = {
  auto: "WebGPU if it passes a check, else WASM",
  webgpu: "WebGPU",
  "webgpu-float16": "WebGPU in float16 (faster, other bytes)",
  wasm: "WASM (same bytes as the command line)",
};

export interface Device {
  provider: "webgpu" | "wasm";
  /** The type of products. */
  precision: "float32" | "float16";
  threads: number;
  /** The result of the startup check, or why there was none: one sentence. */
  reason: string;
}

/** The URL of the weights and their size if known. The page has already fetched the configuration. */
export interface OpenRequest {
  model: { config: ModelConfig; weights: string; bytes?: number };
  device: DeviceWish;
  threads: number;
}

/** Redraws the pixels of image [S, S, C] where mask [S, S] is 1, plus `ring` patches around them. */
export interface Edit {
  image: Uint8Array;
  mask: Uint8Array;
  ring?: number;
}

export interface DrawRequest extends SamplingSettings {
  labels: number[];
  seed: number;
  /** The image to redraw, once for each label. */
  edit?: Edit;
  /** The index of an image to draw before the others, so that there is something to see early. */
  first?: number;
}

/** A step of a level in a compact form for sending and storing. */
export interface StepRecord {
  level: number;
  step: number;
  steps: number;
  /** The step's number from 0 within its group of images. Groups are drawn one after another, so numbers repeat. */
  at?: number;
  /** The finished squares: image, left and top of each, and their side in pixels. */
  image: Uint16Array;
  x: Uint16Array;
  y: Uint16Array;
  side: number;
  /** If the step drew pixels, their bytes and entropies in 32nds of a bit, [squares, C] each. */
  bytes?: Uint8Array;
  entropy?: Uint8Array;
  /** -log2 of the probability of each drawn byte, [squares, C]. */
  bits?: Float32Array;
}

/** The model's expectation for one pixel: `entropy` and `chance` are [C], `probabilities` is [C, 256]. */
export interface Distribution {
  entropy: number[];
  /** The probability of the drawn byte. */
  chance: number[];
  probabilities: Float32Array;
}

export type ToWorker =
  | ({ kind: "open" } & OpenRequest)
  | { kind: "draw"; id: number; request: DrawRequest }
  | { kind: "cancel" }
  /** Requests the distribution of a pixel in one of the last few drawings. */
  | { kind: "distribution"; id: number; drawing: number; image: number; pixel: number };

export type FromWorker =
  | { kind: "opening"; what: string; share?: number }
  | { kind: "ready"; device: Device }
  | { kind: "steps"; id: number; steps: StepRecord[]; done: number }
  | { kind: "drawn"; id: number; seconds: number; cancelled: boolean }
  | { kind: "distribution"; id: number; distribution?: Distribution }
  /** `message` is one sentence; `id` is the drawing that failed, if any; `stopped` means the worker cannot continue. */
  | { kind: "failed"; id?: number; message: string; stopped: boolean };
