/** The worker thread of counting.ts. */

import { parentPort, workerData } from "node:worker_threads";
import { failure } from "../workers/failure.ts";
import { type CountingAnswer, type CountingMessage, type CountingStart, imagesWithin } from "./counting.ts";

const { models, share } = workerData as CountingStart;
const port = parentPort!;

port.on("message", (message: CountingMessage) => {
  if (message === "close") return port.close();
  let answer: CountingAnswer;
  try {
    answer = { images: imagesWithin(models[message.model], message.settings, share) };
  } catch (error) {
    answer = failure(error);
  }
  port.postMessage(answer);
});
