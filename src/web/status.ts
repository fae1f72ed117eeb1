/** The page's messages: status, error, progress and the device badge. */

import { UserError } from "../core/errors.ts";
import { byId, the } from "./elements.ts";
import type { Device } from "./protocol.ts";
import { plural, sentence } from "./words.ts";

export function say(text: string): void {
  byId("status").textContent = text;
}

/** Shows an error; without one, clears the last. */
export function complain(error?: unknown): void {
  byId("error").textContent = error === undefined ? "" : inWords(error);
}

/** Returns the message of a `UserError`. Errors of the browser or a library go to the console instead. */
export function inWords(error: unknown): string {
  if (error instanceof UserError) return sentence(error);
  console.error(error);
  return "Something went wrong in this page. Reload it. If that does not help, try another browser.";
}

/** Shows progress from 0 to 1; 0 when idle. */
export function showProgress(share: number): void {
  the("progress", "progress").value = share;
}

export type DeviceView =
  | { kind: "starting" }
  | { kind: "ready"; device: Device }
  /** The model cannot run; `reason` is a sentence. */
  | { kind: "failed"; reason: string };

export function showDevice(view: DeviceView): void {
  const details = byId("device-details");
  details.classList.toggle("ready", view.kind === "ready");
  details.classList.toggle("failed", view.kind === "failed");
  const [name, reason] = deviceInWords(view);
  byId("device-name").textContent = name;
  byId("device-reason").textContent = reason;
}

function deviceInWords(view: DeviceView): [name: string, reason: string] {
  if (view.kind === "starting")
    return ["Starting…", "The model is being loaded into this page. Nothing leaves your browser."];
  if (view.kind === "failed") return ["Not running", view.reason];
  const { provider, precision, threads, reason } = view.device;
  const gpu = precision === "float16" ? "WebGPU, float16" : "WebGPU";
  const name = provider === "webgpu" ? gpu : `WASM, ${plural(threads, "thread")}`;
  return [name, `The model runs in this page. Nothing leaves your browser. ${reason}`];
}
