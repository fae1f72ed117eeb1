/** The worker that trains, so that the page never blocks. A page ends it to end the training. */

import { UserError } from "../../core/errors.ts";
import { webEngine } from "../../engine/web.ts";
import { sharedProgress } from "../../files/fetching.ts";
import { loadRuntime } from "../runtime.ts";
import { turn } from "../turn.ts";
import { learn } from "./lesson.ts";
import type { FromTrainer, ToTrainer } from "./protocol.ts";

declare const self: DedicatedWorkerGlobalScope;

const send = (message: FromTrainer): void => self.postMessage(message);

/** While paused: resolves when training should continue. */
let paused: Promise<void> | undefined;
let resume = (): void => {};

self.addEventListener("message", ({ data }: MessageEvent<ToTrainer>) => {
  if (data.kind === "start") void start(data);
  else if (data.kind === "pause") paused ??= new Promise((resolve) => (resume = resolve));
  else {
    paused = undefined;
    resume();
  }
});

async function start({ lesson, device }: Extract<ToTrainer, { kind: "start" }>): Promise<void> {
  try {
    const progress = sharedProgress((share) => send({ kind: "opening", share }));
    // Its steps are too small for several threads.
    const runtime = await loadRuntime({ webgpu: device === "webgpu", threads: 1 }, progress);
    const training = await webEngine(runtime, { provider: device === "webgpu" ? "webgpu" : "cpu" });
    if (training.fallback) console.error(training.fallback);
    send({
      kind: "ready",
      device: training.provider === "webgpu" ? "webgpu" : "wasm",
      ...(training.fallback && { reason: "WebGPU did not start, so WASM is used." }),
    });
    const sampling = (files: Record<string, Uint8Array>) => webEngine(runtime, { files });
    for await (const progress of learn(lesson, { training, sampling })) {
      send(progress);
      await turn();
      if (!paused) continue;
      send({ kind: "paused" });
      await paused;
    }
    send({ kind: "ended" });
  } catch (error) {
    if (!(error instanceof UserError)) console.error(error);
    const stopped = "The training stopped in this browser. Start over, or choose the other device.";
    send({ kind: "failed", message: error instanceof UserError ? error.message : stopped });
  }
}
