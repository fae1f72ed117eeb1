/** A worker thread of the sampling benchmark: executes commands and reports measurements. */

import { parentPort, workerData } from "node:worker_threads";
import { nodeEngine } from "../src/engine/node.ts";
import { externalModel } from "../src/files/external.ts";
import { readModelFolder } from "../src/files/model.ts";
import { createSampler, type SampleOptions } from "../src/sample/sampler.ts";
import { type Failure, failure } from "../src/workers/failure.ts";
import { type Measured, measuring, plainCopy, plainProduct, thinProduct } from "./engine.ts";

export interface LaneStart {
  folder: string;
  threads: number;
}

export type LaneMessage = "product" | "copy" | "close" | { rows: number } | { sample: SampleOptions };

export interface LaneAnswer {
  /** GFLOP/s or GB/s. */
  rate?: number;
  /** Without the time to open sessions. */
  seconds?: number;
  /** Sessions in the order of their first use. */
  parts?: Measured[];
}

const { folder, threads } = workerData as LaneStart;
const port = parentPort!;
const tell = (answer: LaneAnswer | Failure) => port.postMessage(answer);

try {
  const engine = await nodeEngine({ threads });
  const model = externalModel(readModelFolder(folder));
  const stored = (name: string) => model.weights(name).bytes + (model.weights(name).quantized?.scale.bytes ?? 0);
  const counted = measuring(engine, stored);
  const sampler = createSampler(counted, model);
  const product = await plainProduct(engine);
  const copy = plainCopy();
  port.on("message", async (message: LaneMessage) => {
    try {
      if (message === "product") tell({ rate: await product() });
      else if (message === "copy") tell({ rate: copy() });
      else if (typeof message === "object" && "rows" in message)
        tell({ rate: await thinProduct(engine, message.rows) });
      else if (message === "close") {
        await sampler.dispose();
        port.close();
      } else {
        counted.reset();
        const started = performance.now();
        const frames = sampler.sample(message.sample);
        while (!(await frames.next()).done);
        const seconds = (performance.now() - started) / 1000 - counted.opening.seconds;
        tell({ seconds, parts: counted.measured.map((part) => ({ ...part })) });
      }
    } catch (error) {
      tell(failure(error));
    }
  });
  tell({});
} catch (error) {
  tell(failure(error));
}
