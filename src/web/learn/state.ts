/** The training page's states and events. Independent of the page's elements. */

import type { Device } from "../protocol.ts";
import type { Curve } from "./chart.ts";
import type { FromTrainer } from "./protocol.ts";

/** What is known of a training after its first step. */
export interface Training {
  /** What it runs on, with a full stop, and why if it is not what was chosen. */
  device: string;
  curve: Curve;
  /** Seconds of each of the latest steps. */
  seconds: readonly number[];
}

export type State =
  | { kind: "idle" }
  /** Before the first step; `doing` is a sentence. */
  | { kind: "starting"; doing: string; training: Training }
  /** While `pausing`, the worker finishes its step. */
  | { kind: "training" | "pausing" | "paused" | "ended"; training: Training }
  | { kind: "failed"; message: string; training: Training };

export type PageEvent = FromTrainer | { kind: "started" | "pausing" | "resumed" | "reset" };

/** The devices that a training can run on. */
export const deviceLabels: Readonly<Record<Device["provider"], string>> = { wasm: "WASM, 1 thread", webgpu: "WebGPU" };

/** The share of the latest step in the smoothed curve. */
const latest = 0.2;
/** Steps over which the speed is measured. */
const recent = 20;

/** Returns the next state. Events that do not apply to the state leave it unchanged. */
export function reduce(state: State, event: PageEvent): State {
  if (event.kind === "reset") return { kind: "idle" };
  if (event.kind === "started")
    return state.kind === "idle" ? { kind: "starting", doing: "Starting…", training: untrained } : state;
  if (state.kind === "idle" || state.kind === "ended" || state.kind === "failed") return state;
  const { kind, training } = state;
  switch (event.kind) {
    case "opening":
      return { kind: "starting", doing: `Fetching the program (${Math.floor(event.share * 10) * 10}%)…`, training };
    case "ready": {
      const device = `${deviceLabels[event.device]}.${event.reason ? ` ${event.reason}` : ""}`;
      const doing = "Compiling the model and its gradients…";
      return { kind: "starting", doing, training: { ...training, device } };
    }
    case "step":
      return { kind: kind === "starting" ? "training" : kind, training: afterStep(training, event) };
    case "heldOut": {
      const { step, bits } = event;
      const heldOut = [...training.curve.heldOut, { step, bits }];
      return { ...state, training: { ...training, curve: { ...training.curve, heldOut } } };
    }
    case "samples":
      return state;
    case "pausing":
      return kind === "training" ? { kind: "pausing", training } : state;
    case "paused":
      return kind === "pausing" ? { kind: "paused", training } : state;
    case "resumed":
      return kind === "pausing" || kind === "paused" ? { kind: "training", training } : state;
    case "ended":
      return { kind: "ended", training };
    case "failed":
      return { kind: "failed", message: event.message, training };
  }
}

const untrained: Training = { device: "", curve: { steps: [], smooth: [], heldOut: [] }, seconds: [] };

export const trainingIn = (state: State): Training => (state.kind === "idle" ? untrained : state.training);

function afterStep(
  { device, curve, seconds }: Training,
  { step, bits, seconds: own }: Extract<FromTrainer, { kind: "step" }>,
): Training {
  const before = curve.smooth.at(-1)?.bits ?? bits;
  // The first steps have more weight, as in the moving average of the weights.
  const share = Math.max(latest, 1 / step);
  const steps = [...curve.steps, { step, bits }];
  const smooth = [...curve.smooth, { step, bits: before + share * (bits - before) }];
  // The first step also compiles.
  return { device, curve: { ...curve, steps, smooth }, seconds: step > 1 ? [...seconds, own].slice(-recent) : seconds };
}

/** What the page says about a state. */
export function inWords(state: State): string {
  switch (state.kind) {
    case "idle":
    case "failed":
      return "";
    case "starting":
      return state.doing;
    case "training":
      return `Training on ${state.training.device}`;
    case "pausing":
      return "Pausing…";
    case "paused":
      return `Paused after step ${state.training.curve.steps.length}.`;
    case "ended":
      return "The training is complete.";
  }
}
