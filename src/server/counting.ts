/** How many images of some settings fit side by side. Counting builds graphs, so requests have it done in a thread. */

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

/** Lanes that draw at once, bytes of memory for the model, and images side by side at most. */
export interface Share {
  lanes: number;
  bytes: number;
  batch: number;
}

/** A UserError where there is no room for one image. */
export function imagesWithin({ config, weightBytes }: Countable, settings: SettingsSize, share: Share): number {
  const size = { ...settings, weightBytes, lanes: share.lanes };
  const bytes = (images: number) => samplingBytes(config, { ...size, batch: images * share.lanes });
  let images = share.batch;
  while (images > 1 && bytes(images) > share.bytes) images = Math.ceil(images / 2);
  if (bytes(images) <= share.bytes) return images;
  throw new UserError({
    subject: { setting: "iterations" },
    problem: `so few take about ${byteCount(bytes(1))} of memory, and the server has ${byteCount(share.bytes)} for this model`,
    hint: "ask for more iterations",
  });
}

export interface CountingStart {
  models: readonly Countable[];
  share: Share;
}
export type CountingMessage = "close" | { model: number; settings: SettingsSize };
export type CountingAnswer = { images: number } | Failure;

export interface Counting {
  /** `imagesWithin` of the model of this number. */
  images(model: number, settings: SettingsSize): Promise<number>;
  dispose(): Promise<void>;
}

/** The thread starts with the first question. */
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
