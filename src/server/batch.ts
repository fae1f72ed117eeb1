/**
 * Images of several requests that are drawn side by side. What a request, an image and a lane are at is said by their
 * states; functions here change no other.
 */

import type { Known } from "../sample/known.ts";
import type { Sampler } from "../sample/sampler.ts";
import type { SamplingSettings } from "../sample/settings.ts";
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

export interface DrawingProgress {
  /** Share of all pixels of all images. */
  done: number;
  /** The images so far, [count, S, S, C]; the same array each time. */
  images(): Uint8Array;
}

/** One request. */
export interface Drawing {
  order: Order;
  state: DrawingState;
  images: Uint8Array;
  pieces: Piece[];
  onProgress?: (progress: DrawingProgress) => void;
  /** Aborted when nobody wants its images any more. */
  gone: AbortController;
  settle(error?: Error): void;
}

export type DrawingState =
  | { kind: "open" }
  /** Its thread was lost: it is drawn again by itself. No two have the same number. */
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
  /** Its batch has frames, also after the image's own last pixel. `done` is the batch's share, `pixels` the image so far. */
  | { kind: "begun"; done: number; pixels: Uint8Array }
  | { kind: "drawn"; pixels: Uint8Array };

/** A sampler of a thread for each model, and the batch that it draws. */
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

/** The oldest image that waits and others of its kind, their share for one of the lanes that are free. */
export function nextBatch(waiting: readonly Piece[], free: number): { batch: Piece[]; left: Piece[] } {
  const kinds = new Map([...new Set(waiting.map(({ drawing }) => drawing))].map((one) => [one, kindOf(one)]));
  const [{ drawing: oldest }] = waiting;
  const same = waiting.filter(({ drawing }) => kinds.get(drawing) === kinds.get(oldest));
  const taken = new Set(same.slice(0, Math.min(oldest.order.batch, Math.ceil(same.length / free))));
  return { batch: [...taken], left: waiting.filter((piece) => !taken.has(piece)) };
}

/** Draws the images of several requests side by side; an image depends only on its seed and index. */
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
      // One that was further on than others of the batch may have left it.
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
