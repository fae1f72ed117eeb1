/** The worker thread of training.ts: computes parts of batches until told to close. */

import { parentPort, workerData } from "node:worker_threads";
import { product } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { modelParameters } from "../model/parameters.ts";
import { type LaneTask, openLane } from "../train/step.ts";
import { type Failure, failure } from "./failure.ts";
import type { LaneAnswer, LaneStart } from "./training.ts";

const { config, options, values, gradients } = workerData as LaneStart;
const port = parentPort!;
const tell = (answer: LaneAnswer | Failure) => port.postMessage(answer);

try {
  const lane = await openLane(await nodeEngine({ threads: 1 }), config, options);
  // onnxruntime does not accept shared memory, hence a copy.
  const own = new Map(modelParameters(config).map(({ name, shape }) => [name, new Float32Array(product(shape))]));
  port.on("message", async (task: LaneTask | "close") => {
    if (task === "close") {
      await lane.dispose();
      port.close();
      return;
    }
    try {
      let at = 0;
      for (const value of own.values()) {
        value.set(values.subarray(at, at + value.length));
        at += value.length;
      }
      const done = await lane.run(own, task);
      at = 0;
      for (const name of own.keys()) {
        const gradient = lane.gradients.get(name)!;
        gradients.set(gradient, at);
        at += gradient.length;
      }
      tell({ done });
    } catch (error) {
      tell(failure(error));
    }
  });
  tell({ ready: true });
} catch (error) {
  tell(failure(error));
}
