/** The worker thread of sampling.ts: draws one task after another until told to close. */

import { parentPort, workerData } from "node:worker_threads";
import { isDeepStrictEqual } from "node:util";
import { nodeEngine } from "../engine/node.ts";
import { readFolder } from "../files/atomic.ts";
import { externalModel } from "../files/external.ts";
import { readModelFolder } from "../files/model.ts";
import { replaced } from "../files/safetensors-header.ts";
import { createSampler, type Frame } from "../sample/sampler.ts";
import type { SamplingAnswer, SamplingMessage, SamplingStart, SamplingTask } from "./sampling-protocol.ts";
import { type Failure, failure } from "./failure.ts";

const { folder, config, threads } = workerData as SamplingStart;
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
  const engine = await nodeEngine({ threads });
  let { weights, sampler } = await open();
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

  async function open() {
    const model = await readFolder(folder, () => readModelFolder(folder));
    if (!isDeepStrictEqual(model.config, config)) throw replaced(model.weights.path);
    return { weights: model.weights, sampler: createSampler(engine, externalModel(model)) };
  }

  /** Graphs are compiled on first use. If the weights have been replaced by then, begins again with the new ones. */
  async function draw(task: SamplingTask, drawing: DrawingTask): Promise<void> {
    let told = false;
    const signals = drawing.images.map((image) => image.signal);
    try {
      for await (const { images, ...frame } of sampler.sample({ ...task, signal: drawing.stop.signal, signals })) {
        const bytes = frame.finished.side === 1 ? pixels(images, frame.finished) : undefined;
        told ||= bytes !== undefined;
        tell({ kind: "frame", frame: { ...frame, ...(bytes && { bytes }) } });
      }
    } catch (error) {
      if (told || !weights.changed?.()) throw error;
      await sampler.dispose();
      ({ weights, sampler } = await open());
      await draw(task, drawing);
    }
  }

  function pixels(images: Uint8Array, { image, x, y }: Frame["finished"]): Uint8Array {
    const { imageSize: size, channels } = config;
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
