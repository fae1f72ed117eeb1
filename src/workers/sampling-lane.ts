/** The worker's side of sampling.ts: draws what it is sent until it is told to close. */

import { parentPort, workerData } from "node:worker_threads";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder } from "../files/model.ts";
import { createSampler, type Frame } from "../sample/sampler.ts";
import type { SamplingAnswer, SamplingMessage, SamplingStart, SamplingTask } from "./sampling.ts";
import { type Failure, failure } from "./failure.ts";

const { folder, threads } = workerData as SamplingStart;
const port = parentPort!;
const tell = (answer: SamplingAnswer | Failure) => port.postMessage(answer);

try {
  const model = externalModel(readModelFolder(folder));
  const sampler = createSampler(await nodeEngine({ threads }), model);
  let going: AbortController | undefined;
  let wanted: AbortController[] = []; // an image each
  port.on("message", async (message: SamplingMessage) => {
    if (message === "stop") going?.abort();
    else if (message === "close") {
      await sampler.dispose();
      port.close();
    } else if ("gone" in message) wanted[message.gone]?.abort();
    else {
      going = new AbortController();
      wanted = message.labels.map(() => new AbortController());
      try {
        await draw(message, going.signal);
        tell({ finished: true });
      } catch (error) {
        tell(going.signal.aborted ? { finished: true } : failure(error));
      }
      going = undefined;
    }
  });
  tell({ ready: true });

  async function draw(task: SamplingTask, signal: AbortSignal): Promise<void> {
    for await (const { images, ...frame } of sampler.sample({
      ...task,
      signal,
      signals: wanted.map((image) => image.signal),
    }))
      tell({ frame: { ...frame, ...(frame.finished.side === 1 ? { bytes: pixels(images, frame.finished) } : {}) } });
  }

  function pixels(images: Uint8Array, { image, x, y }: Frame["finished"]): Uint8Array {
    const { imageSize: size, channels } = model.config;
    const bytes = new Uint8Array(image.length * channels);
    for (let i = 0; i < image.length; i++) {
      const from = ((image[i] * size + y[i]) * size + x[i]) * channels;
      bytes.set(images.subarray(from, from + channels), i * channels);
    }
    return bytes;
  }
} catch (error) {
  tell(failure(error));
}
