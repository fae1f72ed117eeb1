/** The worker that trains, as functions. Independent of the page's elements. */

import type { FromTrainer, ToTrainer } from "./protocol.ts";

export interface Trainer {
  pause(): void;
  resume(): void;
  /** Ends the training and frees its memory. */
  close(): void;
}

/** Starts a training. `onMessage` also receives failures of the worker itself. */
export function startTrainer(
  { lesson, device }: Omit<Extract<ToTrainer, { kind: "start" }>, "kind">,
  onMessage: (message: FromTrainer) => void,
): Trainer {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const send = (message: ToTrainer): void => worker.postMessage(message);
  worker.addEventListener("message", ({ data }: MessageEvent<FromTrainer>) => onMessage(data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    console.error(event.message);
    onMessage({ kind: "failed", message: "The program that trains stopped or could not be loaded. Reload the page." });
  });
  send({ kind: "start", lesson, device });
  return {
    pause: () => send({ kind: "pause" }),
    resume: () => send({ kind: "resume" }),
    close: () => worker.terminate(),
  };
}
