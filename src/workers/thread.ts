/** Starts worker threads that answer with messages, from source or from the built package. */

import type { Worker } from "node:worker_threads";
import { GatedWorker } from "../engine/gate.ts";
import { disableTelemetry } from "../engine/node.ts";
import { type Failure, ThreadError, thrownBy } from "./failure.ts";

export interface Thread<Message, Answer> {
  send(message: Message): void;
  /** The next unread message. Throws the error of a worker that failed or is lost. */
  next(): Promise<Answer>;
  /** Whether it has ended, on request or otherwise. */
  isOver(): boolean;
  /** Resolves when the worker has ended. Send it its own message to close first. Never rejects. */
  ended(): Promise<void>;
}

/** Starts a module with `workerData`. Its URL has no extension: the one of this file is added. */
export function startThread<Message, Answer extends object>(module: URL, workerData: unknown): Thread<Message, Answer> {
  disableTelemetry();
  const worker = start(module, workerData);
  const answers: (Answer | Failure)[] = [];
  let over: ThreadError | undefined;
  let wake: (() => void) | undefined;
  worker.on("message", (answer: Answer | Failure) => {
    answers.push(answer);
    wake?.();
  });
  const end = (cause: Error) => {
    over ??= new ThreadError(cause, { lost: true });
    wake?.();
  };
  worker.on("error", (error) => end(error as Error));
  // If an answer cannot be read, its reader would wait forever.
  worker.on("messageerror", (error) => {
    end(error);
    void worker.terminate();
  });
  const gone = new Promise<void>((resolve) => {
    worker.on("exit", (code) => {
      end(new Error(`its exit code is ${code}`));
      resolve();
    });
  });
  return {
    send: (message) => worker.postMessage(message),
    async next() {
      while (answers.length === 0) {
        if (over) throw over;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const answer = answers.shift()!;
      if ("error" in answer) throw thrownBy(answer);
      return answer;
    },
    isOver: () => over !== undefined,
    ended: () => gone,
  };
}

/** A worker that runs from source must first register the TypeScript loader. */
function start({ href }: URL, workerData: unknown): Worker {
  if (!import.meta.url.endsWith(".ts")) return new GatedWorker(new URL(`${href}.js`), { workerData });
  const tsx = import.meta.resolve("tsx/esm/api");
  const code = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(`${href}.ts`)}); });`;
  return new GatedWorker(code, { eval: true, workerData, execArgv: [] });
}
