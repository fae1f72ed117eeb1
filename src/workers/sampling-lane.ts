/** The worker thread of sampling.ts: draws one task after another until told to close. */

import { parentPort, workerData } from "node:worker_threads";
import { nodeEngine } from "../engine/node.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder } from "../files/model.ts";
import { createSampler, type Frame } from "../sample/sampler.ts";
import type { SamplingAnswer, SamplingMessage, SamplingStart, SamplingTask } from "./sampling-protocol.ts";
import { type Failure, failure } from "./failure.ts";

const { folder, threads } = workerData as SamplingStart;
const port = parentPort!;
const tell = (answer: SamplingAnswer | Failure) => port.postMessage(answer);

/** Drawing a task: `stop` ends all of it, `images` end single images. */
type DrawingTask = { kind: "drawing"; stop: AbortController; images: readonly AbortController[] };
type State = { kind: "idle" } | DrawingTask;

const drawingOf = ({ labels }: SamplingTask): DrawingTask => ({
  kind: "drawing",
  stop: new AbortController(),
  images: labels.map(() => new AbortController()),
});

try {
  const model = externalModel(readModelFolder(folder));
  const sampler = createSampler(await nodeEngine({ threads }), model);
  let state: State = { kind: "idle" };
  port.on("message", async (message: SamplingMessage) => {
    switch (message.kind) {
      case "draw": {
        const drawing = drawingOf(message.task);
        state = drawing;
        try {
          await draw(message.task, drawing);
          tell({ kind: "finished" });
        } catch (error) {
          tell(drawing.stop.signal.aborted ? { kind: "finished" } : failure(error));
        }
        state = { kind: "idle" };
        return;
      }
      case "gone":
        if (state.kind === "drawing") state.images[message.image]?.abort();
        return;
      case "stop":
        if (state.kind === "drawing") state.stop.abort();
        return;
      case "close":
        await sampler.dispose();
        port.close();
    }
  });
  tell({ kind: "ready" });

  async function draw(task: SamplingTask, { stop, images: wanted }: DrawingTask): Promise<void> {
    for await (const { images, ...frame } of sampler.sample({
      ...task,
      signal: stop.signal,
      signals: wanted.map((image) => image.signal),
    }))
      tell({
        kind: "frame",
        frame: { ...frame, ...(frame.finished.side === 1 ? { bytes: pixels(images, frame.finished) } : {}) },
      });
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
