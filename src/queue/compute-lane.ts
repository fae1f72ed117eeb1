/** The compute thread of a worker: runs the jobs it receives until it is told to close. */

import { parentPort, workerData } from "node:worker_threads";
import { UserError } from "../core/errors.ts";
import type { Engine } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { type Failure, failure } from "../workers/failure.ts";
import type { ComputeAnswer, ComputeMessage, ComputeStart } from "./compute-protocol.ts";
import { jobRunner } from "./run-job.ts";
import { openStore } from "./store.ts";

const { shared, cache, device, threads } = workerData as ComputeStart;
const port = parentPort!;
const tell = (answer: ComputeAnswer | Failure) => port.postMessage(answer);

try {
  const engine = await nodeEngine({ provider: device, threads });
  // Another device would produce different bytes.
  if (engine.fallback) throw new UserError({ subject: { setting: "device" }, problem: engine.fallback });
  const store = await openStore(shared, { cache });
  let opened: Promise<Engine> | undefined;
  const half = () => (opened ??= nodeEngine({ provider: device, threads, precision: "float16" }));
  const runner = jobRunner({ engine, half, store, threads });
  let stop = new AbortController();
  port.on("message", async (message: ComputeMessage) => {
    if (message.kind === "stop") stop.abort();
    if (message.kind === "close") {
      await runner.dispose();
      port.close();
    }
    if (message.kind !== "run") return;
    stop = new AbortController();
    const before = { ...store.traffic };
    try {
      const result = await runner.run(message.job, { area: message.area, signal: stop.signal });
      const { read, written } = store.traffic;
      tell({ kind: "done", result, traffic: { read: read - before.read, written: written - before.written } });
    } catch (error) {
      tell(failure(error));
    }
  });
  tell({ kind: "ready" });
} catch (error) {
  tell(failure(error));
}
