/** Computes how many images fit in one batch. This builds graphs, so requests do it in a worker thread. */

import type { ModelConfig } from "../config/model.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { samplingBytes, type SettingsSize } from "../sample/memory.ts";
import type { Failure } from "../workers/failure.ts";
import { startThread, type Thread } from "../workers/thread.ts";

export interface Countable {
  config: ModelConfig;
  weightBytes: number;
}

/** Concurrent lanes, bytes of memory for the model, and the largest batch. */
export interface LaneShare {
  lanes: number;
  bytes: number;
  batch: number;
}

/** Returns the largest batch that fits. Throws a `UserError` if not even one image fits. */
export function imagesWithin({ config, weightBytes }: Countable, settings: SettingsSize, share: LaneShare): number {
  const size = { ...settings, weightBytes, lanes: share.lanes };
  const bytes = (images: number) => samplingBytes(config, { ...size, batch: images * share.lanes });
  let images = share.batch;
  while (images > 1 && bytes(images) > share.bytes) images = Math.ceil(images / 2);
  if (bytes(images) <= share.bytes) return images;
  throw new UserError({
    subject: { setting: "iterations" },
    problem: `this few need about ${byteCount(bytes(1))} of memory, but the server has ${byteCount(share.bytes)} for this model`,
    hint: "ask for more iterations",
  });
}

export interface CountingStart {
  models: readonly Countable[];
  share: LaneShare;
}
export type CountingMessage = "close" | { model: number; settings: SettingsSize };
export type CountingAnswer = { images: number } | Failure;

export interface Counting {
  /** Runs `imagesWithin` for the model at this index. */
  images(model: number, settings: SettingsSize): Promise<number>;
  dispose(): Promise<void>;
}

/** The thread starts on first use. */
export function counting(start: CountingStart): Counting {
  let thread: Thread<CountingMessage, { images: number }> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  return {
    images(model, settings) {
      const answer = last.then(async () => {
        if (!thread || thread.isOver()) thread = startThread(new URL("./counting-lane", import.meta.url), start);
        thread.send({ model, settings });
        return (await thread.next()).images;
      });
      last = answer.catch(() => {});
      return answer;
    },
    async dispose() {
      await last;
      thread?.send("close");
      await thread?.ended();
      thread = undefined;
    },
  };
}
