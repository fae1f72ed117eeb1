/**
 * Schedules requests: a bounded queue of images, and lanes that draw them in batches. Requests with equal settings share
 * batches. Independent of HTTP.
 */

import { startingImages } from "../sample/known.ts";
import type { Sampler } from "../sample/sampler.ts";
import { ThreadError } from "../workers/failure.ts";
import {
  drawBatch,
  type Drawing,
  type DrawingOrder,
  type DrawingProgress,
  isOver,
  isWanted,
  nextBatch,
  type Piece,
  type QueueLane,
} from "./batch.ts";
import { ApiError, cancelled } from "./errors.ts";
import type { ServedModel } from "./models.ts";

export type { DrawingOrder, DrawingProgress } from "./batch.ts";

export interface DrawOptions {
  /** Removes the images from the queue and from batches in progress. */
  signal?: AbortSignal;
  onProgress?: (progress: DrawingProgress) => void;
}

export interface QueueState {
  /** Unfinished requests. */
  requests: number;
  /** Images waiting and images being drawn. */
  waiting: number;
  running: number;
  /** Finished images and batches. */
  images: number;
  batches: number;
}

export interface DrawingQueue {
  /** Throws 429 immediately if the queue is full, or 400 if the order could never fit. */
  draw(order: DrawingOrder, options?: DrawOptions): Promise<Uint8Array>;
  state(): QueueState;
  /** Resolves when all orders are finished. */
  idle(): Promise<void>;
  /** Stops the lanes and cancels unfinished orders. */
  dispose(): Promise<void>;
}

export interface QueueOptions {
  lanes: number;
  /** How many of the lanes compute at the same time, if not all do; waiting images are divided among these. */
  workers?: () => number;
  /** The most images that may wait. */
  most: number;
  open: (model: ServedModel) => Sampler;
  /** Called with the error that made a batch fail. */
  onFault?: (error: unknown) => void;
}

const retryMost = 600;

export function drawingQueue({ lanes: count, workers = () => count, most, open, onFault }: QueueOptions): DrawingQueue {
  const lanes: QueueLane[] = Array.from({ length: count }, () => ({ samplers: new Map(), state: { kind: "free" } }));
  const drawings = new Set<Drawing>();
  let waiting: Piece[] = [];
  let finished = { images: 0, batches: 0 };
  /** Seconds per image with all lanes busy; unknown until the first batch is done. */
  let pace: number | undefined;
  let whenIdle: (() => void)[] = [];
  let alone = 0;

  function draw(order: DrawingOrder, { signal, onProgress }: DrawOptions = {}): Promise<Uint8Array> {
    if (signal?.aborted) throw cancelled();
    const { labels, model } = order;
    if (waiting.length + labels.length > most) throw full(labels.length);
    return new Promise((resolve, reject) => {
      const drawing: Drawing = {
        order,
        state: { kind: "open" },
        images: startingImages(model.config, { count: labels.length, known: order.known }),
        pieces: [],
        onProgress,
        gone: new AbortController(),
        settle(error) {
          if (isOver(drawing)) return;
          drawing.state = { kind: "over" };
          drawings.delete(drawing);
          signal?.removeEventListener("abort", cancel);
          if (error) {
            drawing.gone.abort();
            withdraw(drawing);
            reject(error);
          } else resolve(drawing.images);
        },
      };
      const cancel = () => drawing.settle(cancelled());
      signal?.addEventListener("abort", cancel);
      drawing.pieces = labels.map((_, index) => ({ drawing, index, state: { kind: "unseen" } }));
      drawings.add(drawing);
      waiting.push(...drawing.pieces);
      start();
    });
  }

  /** Removes a drawing's waiting images and aborts batches that draw nothing else. */
  function withdraw(drawing: Drawing): void {
    waiting = waiting.filter((piece) => piece.drawing !== drawing);
    for (const { state } of lanes)
      if (state.kind === "drawing" && state.pieces.every((piece) => isOver(piece.drawing))) state.controller.abort();
  }

  function full(images: number): ApiError {
    if (images > most)
      return new ApiError(
        400,
        `n: ${images} images are more than the ${most} that this server's queue holds; request fewer`,
        { param: "n" },
      );
    const retryAfter = Math.min(retryMost, Math.max(1, Math.ceil(waiting.length * (pace ?? 1 / count))));
    const message = `the queue is full: ${waiting.length} of at most ${most} images are waiting; try again in ${retryAfter} s`;
    return new ApiError(429, message, { code: "rate_limit_exceeded", retryAfter });
  }

  const isFree = ({ state }: QueueLane) => state.kind === "free";

  function start(): void {
    for (const lane of lanes)
      if (isFree(lane) && waiting.length > 0) {
        const { batch, left } = nextBatch(waiting, Math.max(1, Math.min(lanes.filter(isFree).length, workers())));
        waiting = left;
        void run(lane, batch);
      }
    if (!lanes.every(isFree)) return;
    for (const resolve of whenIdle) resolve();
    whenIdle = [];
  }

  /** Draws the images of a lost thread once more, each request in its own batch, because one of them may have caused the loss. */
  function again(pieces: readonly Piece[], error: Error): void {
    for (const drawing of new Set(pieces.map(({ drawing }) => drawing))) {
      if (isOver(drawing)) continue;
      if (drawing.state.kind === "alone") {
        drawing.settle(error);
        continue;
      }
      drawing.state = { kind: "alone", number: alone++ };
      waiting.unshift(...pieces.filter((piece) => piece.drawing === drawing));
    }
  }

  async function run(lane: QueueLane, pieces: Piece[]): Promise<void> {
    const controller = new AbortController();
    lane.state = { kind: "drawing", pieces, controller };
    const { model } = pieces[0].drawing.order;
    const started = performance.now();
    try {
      const sampler = lane.samplers.get(model) ?? open(model);
      lane.samplers.set(model, sampler);
      await drawBatch(sampler, pieces, controller.signal);
      const drawn = pieces.filter(isWanted).length;
      const seconds = (performance.now() - started) / 1000 / drawn / count;
      if (drawn > 0) pace = pace === undefined ? seconds : 0.8 * pace + 0.2 * seconds;
      finished = { images: finished.images + drawn, batches: finished.batches + 1 };
    } catch (error) {
      if (!controller.signal.aborted) {
        onFault?.(error);
        // A thread that has ended cannot be reused; the next batch opens another.
        await lane.samplers.get(model)?.dispose().catch(onFault);
        lane.samplers.delete(model);
        if (error instanceof ThreadError && error.lost) again(pieces, error);
        else for (const { drawing } of pieces) drawing.settle(error as Error);
      }
    }
    lane.state = { kind: "free" };
    start();
  }

  return {
    draw,
    state: () => ({
      requests: drawings.size,
      waiting: waiting.length,
      running: lanes.flatMap(({ state }) => (state.kind === "drawing" ? state.pieces : [])).filter(isWanted).length,
      ...finished,
    }),
    idle: () =>
      drawings.size === 0 && lanes.every(isFree) ? Promise.resolve() : new Promise((resolve) => whenIdle.push(resolve)),
    async dispose() {
      for (const drawing of drawings) drawing.settle(cancelled());
      while (!lanes.every(isFree)) await new Promise<void>((resolve) => whenIdle.push(resolve));
      await Promise.all(lanes.flatMap(({ samplers }) => [...samplers.values()].map((sampler) => sampler.dispose())));
    },
  };
}
