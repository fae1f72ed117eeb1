/**
 * Batches of images from several requests. The progress of a request, an image and a lane is in its `state`; the
 * functions here change no other state.
 */

import type { Known } from "../sample/known.ts";
import type { Sampler } from "../sample/sampler.ts";
import type { SamplingSettings } from "../sample/settings.ts";
import type { ServedModel } from "./models.ts";

/** An order for images 0 .. labels.length - 1 of a seed. */
export interface DrawingOrder {
  model: ServedModel;
  labels: readonly number[];
  seed: number;
  settings: SamplingSettings;
  /** The largest batch for these settings. */
  batch: number;
  /** The pixels that an edit keeps. */
  known?: Known;
}

export interface DrawingProgress {
  /** Fraction of all pixels of all images, 0 to 1. */
  done: number;
  /** The images so far, [count, S, S, C]; every call returns the same array. */
  images(): Uint8Array;
}

/** One request. */
export interface Drawing {
  order: DrawingOrder;
  state: DrawingState;
  images: Uint8Array;
  pieces: Piece[];
  onProgress?: (progress: DrawingProgress) => void;
  /** Aborted when the images are no longer wanted. */
  gone: AbortController;
  settle(error?: Error): void;
}

export type DrawingState =
  | { kind: "open" }
  /** Its thread was lost, so it is drawn again in a batch of its own. `number` is unique. */
  | { kind: "alone"; number: number }
  /** Answered, failed or cancelled. */
  | { kind: "over" };

/** One image of a request. */
export interface Piece {
  drawing: Drawing;
  index: number;
  state: PieceState;
}

export type PieceState =
  | { kind: "unseen" }
  /** Its batch has produced a frame. `done` is the batch's progress, which may lag behind the image; `pixels` is the image so far. */
  | { kind: "begun"; done: number; pixels: Uint8Array }
  | { kind: "drawn"; pixels: Uint8Array };

/** One worker thread per model, and the batch being drawn. */
export interface QueueLane {
  samplers: Map<ServedModel, Sampler>;
  state: { kind: "free" } | { kind: "drawing"; pieces: readonly Piece[]; controller: AbortController };
}

export const isOver = ({ state }: Drawing): boolean => state.kind === "over";
export const isWanted = ({ drawing }: Piece): boolean => !drawing.gone.signal.aborted;
const doneOf = ({ state }: Piece): number => (state.kind === "unseen" ? 0 : state.kind === "drawn" ? 1 : state.done);

/** Equal for requests that can be drawn together. */
const kindOf = ({ order: { model, settings, known }, state }: Drawing): string =>
  JSON.stringify([model.name, settings, known !== undefined, state.kind === "alone" ? state.number : undefined]);

/** Takes the oldest waiting image and others that can be drawn with it: one free lane's share of them, at most a batch. */
export function nextBatch(waiting: readonly Piece[], free: number): { batch: Piece[]; left: Piece[] } {
  const kinds = new Map([...new Set(waiting.map(({ drawing }) => drawing))].map((one) => [one, kindOf(one)]));
  const [{ drawing: oldest }] = waiting;
  const same = waiting.filter(({ drawing }) => kinds.get(drawing) === kinds.get(oldest));
  const taken = new Set(same.slice(0, Math.min(oldest.order.batch, Math.ceil(same.length / free))));
  return { batch: [...taken], left: waiting.filter((piece) => !taken.has(piece)) };
}

/** Draws images of several requests in one batch. An image depends only on its seed and index, not on the rest of the batch. */
export async function drawBatch(sampler: Sampler, pieces: readonly Piece[], signal: AbortSignal): Promise<void> {
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
      const pixels = images.subarray(i * bytes, (i + 1) * bytes);
      // An image that was cancelled or finished early may already be further than this frame says.
      piece.state = next.done
        ? { kind: "drawn", pixels }
        : { kind: "begun", done: Math.max(doneOf(piece), next.value.done), pixels };
    });
    const told = new Set(pieces.map(({ drawing }) => drawing).filter((one) => !isOver(one)));
    for (const { onProgress, pieces: all, images } of told)
      onProgress?.({
        done: all.reduce((sum, piece) => sum + doneOf(piece), 0) / all.length,
        images: () => {
          all.forEach(({ state }, i) => state.kind !== "unseen" && images.set(state.pixels, i * bytes));
          return images;
        },
      });
    if (!next.done) continue;
    const last = next.value;
    pieces.forEach(({ drawing, index }, i) =>
      drawing.images.set(last.subarray(i * bytes, (i + 1) * bytes), index * bytes),
    );
    for (const drawing of told) if (drawing.pieces.every(({ state }) => state.kind === "drawn")) drawing.settle();
    return;
  }
}

/** The known pixels of a batch's images, in batch order. */
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
