/**
 * Requests on their way through the engine: a bounded queue of images, lanes that draw batches of them, equal settings
 * joined. Knows nothing of HTTP.
 */

import { type Known, startingImages } from "../sample/known.ts";
import type { Sampler } from "../sample/sampler.ts";
import type { SamplingSettings } from "../sample/settings.ts";
import { ThreadError } from "../workers/failure.ts";
import { ApiError, cancelled } from "./errors.ts";
import type { ServedModel } from "./models.ts";

/** Images 0 .. labels.length - 1 of a seed. */
export interface Order {
  model: ServedModel;
  labels: readonly number[];
  seed: number;
  settings: SamplingSettings;
  /** The most images that are drawn side by side with these settings. */
  batch: number;
  /** What an edit keeps. */
  known?: Known;
}

export interface Progress {
  /** Share of all pixels of all images. */
  done: number;
  /** The images so far, [count, S, S, C]; the same array each time. */
  images(): Uint8Array;
}

export interface DrawOptions {
  /** Takes images out of the queue and out of the batches that are being drawn. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface QueueState {
  /** Requests that are not finished. */
  requests: number;
  /** Images that wait, and that are being drawn. */
  waiting: number;
  running: number;
  /** Images and batches that were finished. */
  images: number;
  batches: number;
}

export interface DrawingQueue {
  /** Throws at once (429) where there is no room. */
  draw(order: Order, options?: DrawOptions): Promise<Uint8Array>;
  state(): QueueState;
  /** Resolves when all that was asked for is drawn. */
  idle(): Promise<void>;
  /** Ends the lanes; what they still draw is cancelled. */
  dispose(): Promise<void>;
}

export interface QueueOptions {
  lanes: number;
  /** The most images that wait. */
  most: number;
  open: (model: ServedModel) => Sampler;
  /** Is told what made a batch fail. */
  onFault?: (error: unknown) => void;
}

interface Drawing {
  order: Order;
  /** Equal for orders that can be drawn together. */
  key: string;
  /** Its thread was lost: it is drawn by itself now. */
  alone: boolean;
  images: Uint8Array;
  pieces: Piece[];
  onProgress?: (progress: Progress) => void;
  /** Aborted when nobody wants its images any more. */
  gone: AbortController;
  settle(error?: Error): void;
  over: boolean;
}

/** One image of a request. */
interface Piece {
  drawing: Drawing;
  index: number;
  /** Share of its batch, which has frames after its last pixel. */
  done: number;
  finished: boolean;
  /** Its pixels in the batch that is being drawn. */
  live?: Uint8Array;
}

const wanted = ({ drawing }: Piece): boolean => !drawing.gone.signal.aborted;

interface Lane {
  samplers: Map<ServedModel, Sampler>;
  batch?: { pieces: Piece[]; controller: AbortController };
}

const retryMost = 600;

export function drawingQueue({ lanes: count, most, open, onFault }: QueueOptions): DrawingQueue {
  const lanes: Lane[] = Array.from({ length: count }, () => ({ samplers: new Map() }));
  const drawings = new Set<Drawing>();
  let waiting: Piece[] = [];
  let finished = { images: 0, batches: 0 };
  /** Seconds that an image takes while all lanes draw; unknown until the first batch is done. */
  let pace: number | undefined;
  let whenIdle: (() => void)[] = [];
  let alone = 0;

  function draw(order: Order, { signal, onProgress }: DrawOptions = {}): Promise<Uint8Array> {
    if (signal?.aborted) throw cancelled();
    const { labels, model } = order;
    if (waiting.length + labels.length > most) throw full(labels.length);
    return new Promise((resolve, reject) => {
      const drawing: Drawing = {
        order,
        key: JSON.stringify([model.name, order.settings, order.known !== undefined]),
        alone: false,
        images: startingImages(model.config, { count: labels.length, known: order.known }),
        pieces: [],
        onProgress,
        gone: new AbortController(),
        over: false,
        settle(error) {
          if (drawing.over) return;
          drawing.over = true;
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
      drawing.pieces = labels.map((_, index) => ({ drawing, index, done: 0, finished: false }));
      drawings.add(drawing);
      waiting.push(...drawing.pieces);
      start();
    });
  }

  /** What waits of a drawing goes, and so do batches without any other. */
  function withdraw(drawing: Drawing): void {
    waiting = waiting.filter((piece) => piece.drawing !== drawing);
    for (const { batch } of lanes) if (batch?.pieces.every((piece) => piece.drawing.over)) batch.controller.abort();
  }

  function full(images: number): ApiError {
    if (images > most)
      return new ApiError(
        400,
        `n: ${images} images are more than the ${most} that this server lets wait; ask for fewer`,
      );
    const retryAfter = Math.min(retryMost, Math.max(1, Math.ceil(waiting.length * (pace ?? 1 / count))));
    const message = `${waiting.length} images are waiting, and there is room for ${most}; try again in ${retryAfter} s`;
    return new ApiError(429, message, { code: "rate_limit_exceeded", retryAfter });
  }

  function start(): void {
    for (const lane of lanes) if (!lane.batch && waiting.length > 0) void run(lane, take());
    if (lanes.some((lane) => lane.batch)) return;
    for (const resolve of whenIdle) resolve();
    whenIdle = [];
  }

  /** The oldest image and others of its kind, shared out over the lanes that are free. */
  function take(): Piece[] {
    const { key, order } = waiting[0].drawing;
    const same = waiting.filter((piece) => piece.drawing.key === key);
    const free = lanes.filter((lane) => !lane.batch).length;
    const taken = new Set(same.slice(0, Math.min(order.batch, Math.ceil(same.length / free))));
    waiting = waiting.filter((piece) => !taken.has(piece));
    return [...taken];
  }

  /** What a lost thread was drawing is drawn once more, each request by itself: one of them may have been its end. */
  function again(pieces: readonly Piece[], error: Error): void {
    for (const drawing of new Set(pieces.map(({ drawing }) => drawing))) {
      if (drawing.over) continue;
      if (drawing.alone) {
        drawing.settle(error);
        continue;
      }
      drawing.alone = true;
      drawing.key = `${drawing.key} ${alone++}`;
      waiting.unshift(...pieces.filter((piece) => piece.drawing === drawing));
    }
  }

  async function run(lane: Lane, pieces: Piece[]): Promise<void> {
    const controller = new AbortController();
    lane.batch = { pieces, controller };
    const { model } = pieces[0].drawing.order;
    const started = performance.now();
    try {
      const sampler = lane.samplers.get(model) ?? open(model);
      lane.samplers.set(model, sampler);
      await drawBatch(sampler, pieces, controller.signal);
      const drawn = pieces.filter(wanted).length;
      const seconds = (performance.now() - started) / 1000 / drawn / count;
      if (drawn > 0) pace = pace === undefined ? seconds : 0.8 * pace + 0.2 * seconds;
      finished = { images: finished.images + drawn, batches: finished.batches + 1 };
    } catch (error) {
      if (!controller.signal.aborted) {
        onFault?.(error);
        // A thread that ended does not come back; the next batch opens another.
        await lane.samplers.get(model)?.dispose().catch(onFault);
        lane.samplers.delete(model);
        if (error instanceof ThreadError && error.lost) again(pieces, error);
        else for (const { drawing } of pieces) drawing.settle(error as Error);
      }
    }
    lane.batch = undefined;
    start();
  }

  return {
    draw,
    state: () => ({
      requests: drawings.size,
      waiting: waiting.length,
      running: lanes.flatMap(({ batch }) => batch?.pieces ?? []).filter(wanted).length,
      ...finished,
    }),
    idle: () =>
      drawings.size === 0 && lanes.every(({ batch }) => !batch)
        ? Promise.resolve()
        : new Promise((resolve) => whenIdle.push(resolve)),
    async dispose() {
      for (const drawing of drawings) drawing.settle(cancelled());
      while (lanes.some(({ batch }) => batch)) await new Promise<void>((resolve) => whenIdle.push(resolve));
      await Promise.all(lanes.flatMap(({ samplers }) => [...samplers.values()].map((sampler) => sampler.dispose())));
    },
  };
}

/** Draws the images of several requests side by side; an image depends only on its seed and index. */
async function drawBatch(sampler: Sampler, pieces: readonly Piece[], signal: AbortSignal): Promise<void> {
  const { settings, model } = pieces[0].drawing.order;
  const { imageSize, channels } = model.config;
  const bytes = imageSize ** 2 * channels;
  const frames = sampler.sample({
    ...settings,
    labels: pieces.map(({ drawing, index }) => drawing.order.labels[index]),
    indices: pieces.map(({ index }) => index),
    seed: pieces.map(({ drawing }) => drawing.order.seed),
    known: knownOf(pieces, bytes, imageSize ** 2),
    batch: pieces.length,
    signal,
    signals: pieces.map(({ drawing }) => drawing.gone.signal),
  });
  for (;;) {
    const next = await frames.next();
    const images = next.done ? next.value : next.value.images;
    pieces.forEach((piece, i) => {
      piece.live = images.subarray(i * bytes, (i + 1) * bytes);
      // One that was further on than others of the batch may have left it.
      piece.done = next.done ? 1 : Math.max(piece.done, next.value.done);
      piece.finished = next.done ?? false;
    });
    const told = new Set(pieces.map(({ drawing }) => drawing).filter(({ over }) => !over));
    for (const { onProgress, pieces: all, images } of told)
      onProgress?.({
        done: all.reduce((sum, { done }) => sum + done, 0) / all.length,
        images: () => {
          all.forEach(({ live }, i) => live && images.set(live, i * bytes));
          return images;
        },
      });
    if (!next.done) continue;
    for (const { drawing, index, live } of pieces) drawing.images.set(live!, index * bytes);
    for (const drawing of told) if (drawing.pieces.every(({ finished }) => finished)) drawing.settle();
    return;
  }
}

/** The known pictures of the images of a batch, in its order. */
function knownOf(pieces: readonly Piece[], bytes: number, pixels: number): Known | undefined {
  if (!pieces[0].drawing.order.known) return undefined;
  const images = new Uint8Array(pieces.length * bytes);
  const mask = new Uint8Array(pieces.length * pixels);
  pieces.forEach(({ drawing, index }, i) => {
    const known = drawing.order.known!;
    images.set(known.images.subarray(index * bytes, (index + 1) * bytes), i * bytes);
    mask.set(known.mask.subarray(index * pixels, (index + 1) * pixels), i * pixels);
  });
  return { images, mask };
}
