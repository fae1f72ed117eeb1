/** The state of a batch of images that is being generated, which the recursion passes down. */

import type { ModelConfig, PlacedLevel } from "../config/model.ts";
import type { DrawValues, SamplingSettings } from "../config/sampling.ts";
import type { Draws } from "./draws.ts";
import type { GivenPixels, Known } from "./known.ts";
import type { ProgressCounter } from "./progress.ts";
import type { Sessions } from "./sessions.ts";

/** Pixels drawn together: the image, left and top of each, their bytes [M, C], and the probabilities [M, C, 256]. */
export interface WatchedPixels {
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
  bytes: Int32Array;
  probabilities: Float32Array;
}

export interface Run {
  config: ModelConfig;
  levels: PlacedLevel[];
  sessions: Sessions;
  guided: boolean;
  settings: SamplingSettings;
  /** Settings of the networks that draw bytes, by level. */
  drawing: Map<number, DrawValues>;
  draws: Draws;
  signal?: AbortSignal;
  /** Whether an image of the batch is no longer wanted. */
  gone: (image: number) => boolean;
  watch?: (pixels: WatchedPixels) => void;
  images: Uint8Array;
  /** The known pixels, the first image of the batch, and the values of bytes. */
  given: Omit<GivenPixels, keyof Known> & Partial<Known>;
  /** Progress over the images of all batches. */
  progress: ProgressCounter;
}

/** The number of rows per square: with guidance, every row appears twice. */
export const ways = ({ guided }: Run): number => (guided ? 2 : 1);
