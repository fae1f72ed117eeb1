/** The worker as async functions. Independent of the page's elements. */

import type { ModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import type { Device, Distribution, DrawRequest, FromWorker, OpenRequest, StepRecord, ToWorker } from "./protocol.ts";

export interface Client {
  readonly config: ModelConfig;
  readonly device: Device;
  /** Draws one drawing at a time, each with a unique id. Rejects with a `UserError`, a `Stopped` if the worker cannot continue. */
  draw(id: number, request: DrawRequest, onSteps: (steps: StepRecord[], done: number) => void): Promise<DrawResult>;
  cancel(): void;
  /** The model's expectation for a pixel of one of the last few drawings; undefined if it did not draw that pixel. */
  distribution(drawing: number, at: { image: number; pixel: number }): Promise<Distribution | undefined>;
  close(): void;
}

export interface DrawResult {
  seconds: number;
  cancelled: boolean;
}

/** The model's worker cannot continue; open a new client. The message is a sentence. */
export class Stopped extends UserError {}

/** Milliseconds that loading the worker's program may take. */
const loadingMost = 60_000;

/** The default number of threads of onnxruntime. More than one requires a cross-origin isolated page. */
export const usualThreads = (): number =>
  crossOriginIsolated ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2)) : 1;

/** Starts a worker and opens the model in it. Rejects with a `UserError`. */
export async function openClient(
  request: OpenRequest,
  onOpening: (what: string, share?: number) => void,
): Promise<Client> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const send = (message: ToWorker): void => worker.postMessage(message);
  const listeners = new Set<(message: FromWorker) => void>();
  const waiting = new Set<(error: Error) => void>();
  worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) =>
    listeners.forEach((listen) => listen(data)),
  );
  const stop = (reason: string) => {
    console.error(reason);
    waiting.forEach((fail) =>
      fail(new Stopped("The program that runs the model stopped or could not be loaded. Reload the page.")),
    );
  };
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    stop(event.message || "the worker's program could not be loaded");
  });
  // A request that is never answered raises no error event.
  const silent = setTimeout(() => stop("the worker's program did not arrive"), loadingMost);
  worker.addEventListener("message", () => clearTimeout(silent), { once: true });

  /** Passes messages to `take` until it returns a value. */
  const until = <T>(take: (message: FromWorker) => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const end = () => {
        listeners.delete(listen);
        waiting.delete(fail);
      };
      const fail = (error: Error) => {
        end();
        reject(error);
      };
      const listen = (message: FromWorker) => {
        try {
          const found = take(message);
          if (found === undefined) return;
          end();
          resolve(found);
        } catch (error) {
          fail(error as Error);
        }
      };
      listeners.add(listen);
      waiting.add(fail);
    });
  const failed = ({ message, stopped }: Extract<FromWorker, { kind: "failed" }>) =>
    stopped ? new Stopped(message) : new UserError(message);

  let questions = 0;
  send({ kind: "open", ...request });
  const { device } = await until((message) => {
    if (message.kind === "opening") onOpening(message.what, message.share);
    if (message.kind === "failed") throw failed(message);
    return message.kind === "ready" ? message : undefined;
  });
  return {
    config: request.model.config,
    device,
    draw(id, request, onSteps) {
      send({ kind: "draw", id, request });
      return until((message) => {
        if (message.kind === "distribution" || !("id" in message) || message.id !== id) return undefined;
        if (message.kind === "steps") onSteps(message.steps, message.done);
        if (message.kind === "failed") throw failed(message);
        return message.kind === "drawn" ? message : undefined;
      });
    },
    cancel: () => send({ kind: "cancel" }),
    async distribution(drawing, at) {
      const id = questions++;
      send({ kind: "distribution", id, drawing, ...at });
      const { distribution } = await until((message) =>
        message.kind === "distribution" && message.id === id ? message : undefined,
      );
      return distribution;
    },
    close: () => worker.terminate(),
  };
}
