/** Sampling on all cores: several worker threads each draw some of a batch's images. */

import type { ModelConfig } from "../config/model.ts";
import { defaultThreads } from "../engine/threads.ts";
import type { ModelFolder } from "../files/model.ts";
import { checkKnown, knownPart, pixelsDrawn, startingImages } from "../sample/known.ts";
import { progressCounter } from "../sample/progress.ts";
import type { Frame, Sampler } from "../sample/sampler.ts";
import type {
  SamplingAnswer,
  SamplingFrame,
  SamplingMessage,
  SamplingStart,
  SamplingThread,
} from "./sampling-protocol.ts";
import { startThread } from "./thread.ts";

/**
 * A sampler that divides each batch between at most `lanes` workers, which share `threads` threads (default: FRACTALGEN_THREADS, or one per core). The
 * images equal those of every other sampler. So do the frames if all workers take the same steps; with known pixels they may not,
 * and then a frame covers some of the workers. The `draws` option is not supported.
 */
export function parallelSampler(
  { folder, config }: ModelFolder,
  { threads = defaultThreads(), lanes: most = threads }: { threads?: number; lanes?: number } = {},
): Sampler {
  let lanes: readonly SamplingThread[] = [];
  let state: "idle" | "drawing" = "idle";

  /** The workers for a batch of `images`. Reuses the open ones if their number is right. */
  async function lanesFor(images: number): Promise<readonly SamplingThread[]> {
    const count = Math.min(most, images);
    if (lanes.length === count && !lanes.some((lane) => lane.isOver())) return lanes;
    await close();
    const each = Math.floor(threads / count);
    const opened = await Promise.allSettled(
      Array.from({ length: count }, () => openLane({ folder, config, threads: each })),
    );
    lanes = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const failed = opened.find((one) => one.status === "rejected");
    if (!failed) return lanes;
    await close();
    throw failed.reason;
  }

  async function close(): Promise<void> {
    const open = lanes;
    lanes = [];
    for (const lane of open) lane.send({ kind: "close" });
    await Promise.all(open.map((lane) => lane.ended()));
  }

  return {
    config,
    async *sample({
      labels,
      seed,
      known,
      indices = labels.map((_, i) => i),
      batch = 16,
      signal,
      signals,
      draws,
      ...options
    }) {
      if (draws) throw new Error("parallelSampler: the option draws is not supported across threads");
      if (state === "drawing")
        throw new Error("parallelSampler: it is already drawing; wait until it ends, or open another sampler");
      if (!(batch >= 1)) throw new Error(`parallelSampler: expected a batch of at least 1, got ${batch}`);
      if (known) checkKnown(config, known, labels.length);
      const images = startingImages(config, { count: labels.length, known });
      if (labels.length === 0) return images;
      state = "drawing";
      try {
        const all = await lanesFor(Math.min(batch, labels.length));
        yield* drawAll(all);
      } finally {
        state = "idle";
      }
      return images;

      async function* drawAll(all: readonly SamplingThread[]): AsyncGenerator<Frame> {
        const progress = progressCounter(
          labels.map((_, image) => pixelsDrawn(config, { from: image, to: image + 1, known })),
          signals,
        );
        for (let from = 0; from < labels.length; from += batch) {
          const count = Math.min(batch, labels.length - from);
          signal?.throwIfAborted();
          const taken = all.slice(0, count); // the last batch may be short
          const parts = taken.map((lane, i) => {
            const [first, end] = [i, i + 1].map((n) => from + Math.floor((count * n) / taken.length));
            const task = {
              ...options,
              labels: labels.slice(first, end),
              indices: indices.slice(first, end),
              batch: end - first,
              seed: typeof seed === "object" ? seed.slice(first, end) : seed,
              known: known && knownPart(config, known, [first, end]),
            };
            lane.send({ kind: "draw", task });
            return drawnBy(lane, { first, signals: signals?.slice(first, end) });
          });
          const stop = () => taken.forEach((lane) => lane.send({ kind: "stop" }));
          signal?.addEventListener("abort", stop);
          try {
            for (;;) {
              const frames: SamplingFrame[] = [];
              for (const part of parts) {
                const frame = await part.next();
                if (frame) frames.push(frame);
              }
              signal?.throwIfAborted();
              if (frames.length === 0) break;
              for (const { bytes, finished } of frames)
                if (bytes) for (const image of finished.image) progress.add(image, 1);
              const done = progress.share();
              for (const alike of ofOneStep(frames)) {
                for (const { bytes, finished } of alike) if (bytes) putPixels(images, bytes, { ...finished, config });
                const { level, step, steps } = alike[0];
                yield { level, step, steps, finished: joined(alike.map(({ finished }) => finished)), done, images };
              }
            }
          } finally {
            signal?.removeEventListener("abort", stop);
            // If the caller stopped early, the remaining answers are read and discarded.
            stop();
            for (const part of parts) await part.rest();
          }
        }
      }
    },
    dispose: close,
  };
}

/** The images from `first` on that one worker draws. */
interface LaneImages {
  /** The next frame, with images numbered as in the whole call; undefined after the last. */
  next(): Promise<SamplingFrame | undefined>;
  /** Waits for the end, and ignores errors. */
  rest(): Promise<void>;
}

interface LaneOptions {
  first: number;
  signals?: readonly AbortSignal[];
}

function drawnBy(lane: SamplingThread, { first, signals = [] }: LaneOptions): LaneImages {
  let state: "drawing" | "over" = "drawing";
  const told = new Set<number>();
  /** Called before each frame. Listeners would add up: one per image, on a signal that many images share. */
  function tellGone(): void {
    signals.forEach((signal, gone) => {
      if (!signal.aborted || told.has(gone)) return;
      told.add(gone);
      lane.send({ kind: "gone", image: gone });
    });
  }
  const part: LaneImages = {
    async rest() {
      while (state === "drawing") await part.next().catch(() => {});
    },
    async next() {
      if (state === "over") return undefined;
      state = "over"; // also if the next line throws
      tellGone();
      const answer = await lane.next();
      if (answer.kind !== "frame") return undefined;
      state = "drawing";
      const { finished, ...frame } = answer.frame;
      return { ...frame, finished: { ...finished, image: finished.image.map((i) => i + first) } };
    },
  };
  return part;
}

/** One group if all frames are of the same step, else one group per frame. */
function ofOneStep(frames: readonly SamplingFrame[]): (readonly SamplingFrame[])[] {
  const [{ level, step, steps }] = frames;
  const same = frames.every((frame) => frame.level === level && frame.step === step && frame.steps === steps);
  return same ? [frames] : frames.map((frame) => [frame]);
}

/** Joins what the workers' frames of one step finished, in the order of images. */
function joined(parts: readonly Frame["finished"][]): Frame["finished"] {
  const all = (of: (part: Frame["finished"]) => Int32Array) => Int32Array.from(parts.flatMap((part) => [...of(part)]));
  return { image: all(({ image }) => image), x: all(({ x }) => x), y: all(({ y }) => y), side: parts[0].side };
}

/** Writes the bytes [K, C] of single pixels to their places in images [.., S, S, C]. */
function putPixels(
  images: Uint8Array,
  bytes: Uint8Array,
  { image, x, y, config: { imageSize: size, channels } }: Frame["finished"] & { config: ModelConfig },
): void {
  for (let i = 0; i < image.length; i++)
    images.set(bytes.subarray(i * channels, (i + 1) * channels), ((image[i] * size + y[i]) * size + x[i]) * channels);
}

async function openLane(start: SamplingStart): Promise<SamplingThread> {
  const lane = startThread<SamplingMessage, SamplingAnswer>(new URL("./sampling-lane", import.meta.url), start);
  await lane.next();
  return lane;
}
