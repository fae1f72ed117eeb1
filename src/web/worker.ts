/** The worker that runs the model, so that the page never blocks. Independent of the page. */

import { UserError } from "../core/errors.ts";
import { drawing, type Expectations, expectations } from "./drawing.ts";
import { type Opened, openModel } from "./opening.ts";
import type { Device, DrawRequest, FromWorker, StepRecord, ToWorker } from "./protocol.ts";
import { turn } from "./turn.ts";

declare const self: DedicatedWorkerGlobalScope;

let opened: Opened | undefined;
/** The expectations of the last drawings by id; the page can return to them with undo. */
const expected = new Map<number, Expectations>();
const drawingsKept = 3;
let stop = new AbortController();

const send = (message: FromWorker): void => self.postMessage(message);

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "open") void open(data);
  else if (data.kind === "draw") void draw(data.id, data.request);
  else if (data.kind === "cancel") stop.abort();
  else {
    const distribution = expected.get(data.drawing)?.of(data.image, data.pixel);
    send({ kind: "distribution", id: data.id, distribution });
  }
});

async function open(wishes: Extract<ToWorker, { kind: "open" }>): Promise<void> {
  try {
    opened = await openModel(wishes, (what, share) => send({ kind: "opening", what, share }));
    send({ kind: "ready", device: opened.device });
  } catch (error) {
    send({ kind: "failed", ...failure(error, "The model could not be started in this browser. Reload the page.") });
  }
}

/** Steps are sent in groups, and messages are received in between, because steps on WASM block the event loop. */
const groupMilliseconds = 25;

async function draw(id: number, request: DrawRequest): Promise<void> {
  if (!opened) throw new Error("draw: the model is not open yet");
  stop = new AbortController();
  const { signal } = stop;
  const { sampler, device } = opened;
  const started = performance.now();
  let steps: StepRecord[] = [];
  let sent = started;
  let done = 0;
  const flush = () => {
    if (steps.length > 0) send({ kind: "steps", id, steps, done });
    steps = [];
  };
  try {
    const found = expectations(sampler.config, request.labels.length);
    expected.set(id, found);
    for (const old of expected.keys()) if (old <= id - drawingsKept) expected.delete(old);
    for await (const taken of drawing(sampler, request, { signal, expected: found })) {
      steps.push(taken.step);
      ({ done } = taken);
      if (performance.now() - sent < groupMilliseconds) continue;
      flush();
      await turn();
      sent = performance.now();
    }
    flush();
    send({ kind: "drawn", id, seconds: (performance.now() - started) / 1000, cancelled: false });
  } catch (error) {
    flush();
    if (signal.aborted) send({ kind: "drawn", id, seconds: (performance.now() - started) / 1000, cancelled: true });
    else send({ kind: "failed", id, ...failure(error, stopped(device)) });
  }
}

const stopped = ({ provider }: Device): string =>
  provider === "webgpu"
    ? "The graphics processor stopped while drawing. Draw again to continue with WASM."
    : "The model stopped while drawing, most likely because memory ran out. Draw again with fewer images.";

/** The page shows the message of a `UserError`. For other errors it shows `otherwise`, and the error goes to the console. */
function failure(error: unknown, otherwise: string): { message: string; stopped: boolean } {
  if (error instanceof UserError) return { message: error.message, stopped: false };
  console.error(error);
  return { message: otherwise, stopped: true };
}
