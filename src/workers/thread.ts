/** A worker thread that answers with messages, from source as from the built package. */

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { UserError } from "../core/errors.ts";
import { disableTelemetry } from "../engine/node.ts";

/** What a worker says when it cannot go on. */
export interface Failure {
  error: string;
  user: boolean;
}

export const failure = (error: unknown): Failure => ({
  error: (error as Error).message,
  user: error instanceof UserError,
});

export interface Thread<Message, Answer> {
  send(message: Message): void;
  /** The next message that was not read yet; throws what the worker failed with. */
  next(): Promise<Answer>;
  /** Resolves when the worker has ended by itself, which it has to be told in its own words. */
  ended(): Promise<void>;
}

/** Starts a module (its address without the ending, which is that of this file) with `workerData`. */
export function startThread<Message, Answer extends object>(module: URL, workerData: unknown): Thread<Message, Answer> {
  disableTelemetry();
  const worker = start(module, workerData);
  const answers: (Answer | Failure)[] = [];
  let over: Error | undefined;
  let wake: (() => void) | undefined;
  worker.on("message", (answer: Answer | Failure) => {
    answers.push(answer);
    wake?.();
  });
  const end = (error: Error) => {
    over ??= error;
    wake?.();
  };
  worker.on("error", (error) => end(error as Error));
  worker.on("exit", (code) => end(new Error(`a thread ended with code ${code}`)));
  const gone = once(worker, "exit");
  return {
    send: (message) => worker.postMessage(message),
    async next() {
      while (answers.length === 0) {
        if (over) throw over;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const answer = answers.shift()!;
      if ("error" in answer) throw answer.user ? new UserError(answer.error) : new Error(answer.error);
      return answer;
    },
    ended: async () => void (await gone),
  };
}

/** A worker that runs from source needs the loader of TypeScript first. */
function start({ href }: URL, workerData: unknown): Worker {
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL(`${href}.js`), { workerData });
  const tsx = import.meta.resolve("tsx/esm/api");
  const code = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(`${href}.ts`)}); });`;
  return new Worker(code, { eval: true, workerData, execArgv: [] });
}
