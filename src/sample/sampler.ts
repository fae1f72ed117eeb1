/** Sampling by recursion over the levels, as a stream of frames. Knows nothing of files, pictures or terminals. */

import { drawingLevels, type ModelConfig, type PlacedLevel, placedLevels } from "../config/model.ts";
import { type DrawValues, drawValues, formOf, type SamplingFlags, type SamplingSettings } from "../config/sampling.ts";
import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import { normalizedValues } from "../core/normalize.ts";
import type { Engine } from "../engine/engine.ts";
import type { Patches } from "../levels/kind.ts";
import { rowsOf } from "../levels/raster.ts";
import { kindOf } from "../levels/table.ts";
import { guidingRows, type Draws, patchesAt, seededDraws, type Squares, wholeImages } from "./draws.ts";
import { checkKnown, givenPatches, type GivenPixels, type Known, pixelsDrawn, startingImages } from "./known.ts";
import { type ProgressCounter, progressCounter } from "./progress.ts";
import { guidanceAt } from "./schedule.ts";
import { type SampledModel, type Sessions, samplingSessions } from "./sessions.ts";
import { settingsOf } from "./settings.ts";

export type { SampledModel } from "./sessions.ts";

/** Sampling options. The settings are those of `config/sampling.ts`; omitted ones default to the model's own. */
export interface SampleOptions extends SamplingFlags {
  /** One label for each image. */
  labels: readonly number[];
  /** Index of each image under its seed, one for each label; 0, 1, 2, .. by default. */
  indices?: readonly number[];
  /** One seed for all images, or one for each label. */
  seed?: number | readonly number[];
  /** Known pixels: they keep their exact bytes and count as already decoded. */
  known?: Known;
  /** Number of images generated together. The images do not depend on it. */
  batch?: number;
  signal?: AbortSignal;
  /** One signal for each label. Aborting it stops drawing that image; the others are not affected. */
  signals?: readonly AbortSignal[];
  draws?: Draws;
  /**
   * Called with pixels as they are drawn and the probabilities they were drawn with, which are computed only if this is
   * set.
   */
  watch?: (pixels: WatchedPixels) => void;
}

/** Pixels drawn together: the image, left and top of each, their bytes [M, C], and the probabilities [M, C, 256]. */
export interface WatchedPixels {
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
  bytes: Int32Array;
  probabilities: Float32Array;
}

/** The result of one step of the sampler. */
export interface Frame {
  /** The level that took a step: 0 is the first, levels - 1 the pixels. */
  level: number;
  /** Number of this step, and the number of steps that the level takes per square. */
  step: number;
  steps: number;
  /** The squares that this step finished: the image, left and top of each, and their side in pixels. */
  finished: { image: Int32Array; x: Int32Array; y: Int32Array; side: number };
  /** Share of the pixels to draw that have been drawn, over all images still wanted. */
  done: number;
  /** Number of images, from the first on, that are finished, if the sampler finishes one after another. */
  ready?: number;
  /** All images so far, bytes [count, S, S, C]; the same array in every frame. Pixels not yet drawn are grey (128). */
  images: Uint8Array;
}

/** Draws images of one model. */
export interface Sampler {
  readonly config: ModelConfig;
  /** Yields a frame for every step of every level and returns the finished images. Stops between steps when aborted. */
  sample(options: SampleOptions): AsyncGenerator<Frame, Uint8Array>;
  /** Frees memory and threads. The sampler cannot be used afterwards. */
  dispose(): Promise<void>;
}

/** Creates a sampler on an engine. Its sessions are compiled on first use; dispose of it when done. */
export function createSampler(engine: Engine, model: SampledModel): Sampler {
  const sessions = samplingSessions(engine, model);
  return {
    config: model.config,
    sample: (options) => sampleImages(sessions, model.config, options),
    dispose: () => sessions.dispose(),
  };
}

/** State passed down the recursion. */
interface Run {
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
  watch?: SampleOptions["watch"];
  images: Uint8Array;
  /** The known pixels, the first image of the batch, and the values of bytes. */
  given: Omit<GivenPixels, keyof Known> & Partial<Known>;
  /** Progress over the images of all batches. */
  progress: ProgressCounter;
}

async function* sampleImages(
  sessions: Sessions,
  config: ModelConfig,
  options: SampleOptions,
): AsyncGenerator<Frame, Uint8Array> {
  const { labels, seed = 0, known, batch = 16, draws = seededDraws, signal, signals = [], watch } = options;
  const settings = settingsOf(options, config);
  const levels = placedLevels(config);
  const indices = options.indices ?? labels.map((_, i) => i);
  const seeds = typeof seed === "number" ? labels.length : seed.length;
  if (indices.length !== labels.length || seeds !== labels.length || !settings.iterations.every((n) => n >= 1))
    throw new Error(
      `sample: expected an index and a seed for each of ${labels.length} labels and iterations of at least 1, got ${indices.length} indices, ${seeds} seeds and iterations ${settings.iterations.join(",")}`,
    );
  if (known) checkKnown(config, known, labels.length);
  const images = startingImages(config, { count: labels.length, known });
  const progress = progressCounter(
    labels.map((_, image) => pixelsDrawn(config, { from: image, to: image + 1, known })),
    signals,
  );
  const values = normalizedValues(config.channels);
  const guided = settings.guidance !== 1;
  const drawing = new Map(drawingLevels(config).map((l, place) => [l, drawValues(settings, place, { guided })]));
  for (let from = 0; from < labels.length; from += batch) {
    const part = labels.slice(from, from + batch);
    const run: Run = {
      config,
      levels,
      sessions,
      guided,
      settings,
      drawing,
      draws,
      signal,
      gone: (image) => signals[from + image]?.aborted ?? false,
      watch,
      images,
      given: { ...known, config, values, first: from },
      progress,
    };
    const classes = guided ? [...part, ...part.map(() => config.classes.length)] : [...part];
    const begin = { labels: int32(classes, [classes.length]) };
    const own = typeof seed === "number" ? seed : seed.slice(from, from + batch);
    yield* square(run, 0, wholeImages(own, indices.slice(from, from + batch)), begin, settings.guidance);
  }
  return images;
}

/**
 * Generates the squares of level l; `conditions` are the inputs of its begin graph. Returns values [R, C * side *
 * side].
 */
async function* square(
  run: Run,
  l: number,
  rows: Squares,
  conditions: Record<string, HostTensor>,
  guidance: number,
): AsyncGenerator<Frame, Float32Array> {
  const level = run.levels[l];
  const { tokens, patch, grid, channels } = level;
  const count = rows.keys.length;
  const width = channels * patch ** 2;
  const colour = level.guidingPixel ? await guidingColour(run, l, rows, conditions.conditions, guidance) : undefined;
  const { prefix } = await (await run.sessions.begin(l)).run({ ...conditions, ...(colour && { colour }) });
  const { patches, mask } = givenPatches(rows, level, run.given);
  const session = run.sessions.step(l, run.guided);
  const unlessAborted =
    <F, R>(step: (feeds: F) => R) =>
    (feeds: F): R => {
      run.signal?.throwIfAborted();
      return step(feeds);
    };
  const steps = kindOf(level).decode(level, {
    rows: count,
    ways: ways(run),
    prefix,
    patches,
    mask,
    iterations: run.settings.iterations[l],
    orders: () => run.draws.orders(rows, tokens),
    wanted: (some) => wanted(run, rows, some),
    run: unlessAborted(session.run),
    runKept: session.runKept && unlessAborted(session.runKept),
  });
  for await (const { step, steps: of, chosen, conditions: found, done } of steps) {
    const strengths = done.map((share) => (l === 0 ? guidanceAt(guidance, run.settings.schedule, share) : guidance));
    for (const { strength, part, own } of byGuidance(chosen, strengths, { conditions: found, ways: ways(run) })) {
      const below = patchesAt(rows, part, { grid, patch });
      const drawn = yield* inside(run, l, below, own, strength);
      part.place.forEach((place, i) => {
        const slot = part.row[i] * tokens + place;
        patches.set(drawn.subarray(i * width, (i + 1) * width), slot * width);
        mask[slot] = 0;
      });
      yield frame(run, { level: l, step: step + 1, steps: of, squares: below, side: patch });
    }
  }
  return unpatchify(patches, { count, grid, patch, channels });
}

/** Draws the guiding pixels of squares of level l: mean colours as values [R', C]. */
async function guidingColour(
  run: Run,
  l: number,
  rows: Squares,
  conditions: HostTensor,
  guidance: number,
): Promise<HostTensor> {
  const { values } = await drawPixels(run, l, { rows: guidingRows(rows), conditions, guidance });
  const { channels } = run.config;
  return float32(run.guided ? twice(values) : values, [(values.length / channels) * ways(run), channels]);
}

/** Filters patches to those whose images are still wanted. */
function wanted({ gone }: Run, { image }: Squares, { row, place }: Patches): Patches {
  const keep = (_: number, i: number) => !gone(image[row[i]]);
  return { row: row.filter(keep), place: place.filter(keep) };
}

const ways = ({ guided }: Run): number => (guided ? 2 : 1);

function twice(values: Float32Array): Float32Array {
  const both = new Float32Array(values.length * 2);
  both.set(values);
  both.set(values, values.length);
  return both;
}

/**
 * Groups the chosen patches and their conditions by the guidance of their rows. Squares with different shares of known
 * patches have different guidance, but a run of a graph takes only one.
 */
function byGuidance(
  chosen: Patches,
  strengths: readonly number[],
  { conditions, ways }: { conditions: HostTensor; ways: number },
): { strength: number; part: Patches; own: HostTensor }[] {
  const all = [...new Set(Array.from(chosen.row, (row) => strengths[row]))];
  return all.map((strength) => {
    const at = Int32Array.from(chosen.row.keys()).filter((i) => strengths[chosen.row[i]] === strength);
    const part = { row: at.map((i) => chosen.row[i]), place: at.map((i) => chosen.place[i]) };
    return { strength, part, own: rowsOf(conditions, at, ways) };
  });
}

/** Generates the contents of patches of level l: squares of the next level, or pixels. */
async function* inside(
  run: Run,
  l: number,
  rows: Squares,
  conditions: HostTensor,
  guidance: number,
): AsyncGenerator<Frame, Float32Array> {
  if (l + 1 < run.levels.length) return yield* square(run, l + 1, rows, { conditions }, guidance);
  const watched = run.watch !== undefined;
  const { bytes, values, probabilities } = await drawPixels(run, l + 1, { rows, conditions, guidance, watched });
  const { x, y } = rows;
  if (probabilities) run.watch?.({ image: rows.image.map((i) => i + run.given.first), x, y, bytes, probabilities });
  const { imageSize, channels } = run.config;
  for (let i = 0; i < rows.keys.length; i++)
    for (let c = 0; c < channels; c++)
      run.images[(((run.given.first + rows.image[i]) * imageSize + rows.y[i]) * imageSize + rows.x[i]) * channels + c] =
        bytes[i * channels + c];
  for (const image of rows.image) run.progress.add(run.given.first + image, 1);
  return values;
}

/**
 * Draws bytes of level l, one pixel for each row, with their normalised values; also returns their probabilities if
 * `watched`.
 */
async function drawPixels(
  run: Run,
  l: number,
  {
    rows,
    conditions,
    guidance,
    watched = false,
  }: { rows: Squares; conditions: HostTensor; guidance: number; watched?: boolean },
): Promise<{ bytes: Int32Array; values: Float32Array; probabilities?: Float32Array }> {
  const { channels } = run.config;
  const settings = run.drawing.get(l)!;
  const session = await run.sessions.pixels(l, run.guided, { form: formOf(settings), probabilities: watched });
  const feed = (value: number | readonly number[]) =>
    typeof value === "number" ? float32([value], []) : float32([...value], [value.length]);
  const result = await session.run({
    conditions,
    uniforms: float32(run.draws.uniforms(rows, channels), [rows.keys.length, channels]),
    guidance: feed(guidance),
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, feed(value)])),
  });
  const bytes = result.bytes.data as Int32Array;
  const values = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) values[i] = run.given.values[(i % channels) * 256 + bytes[i]];
  return { bytes, values, probabilities: result.probabilities?.data as Float32Array | undefined };
}

/** Patches [R, N, C p p] -> squares [R, C, side, side]. */
function unpatchify(
  patches: Float32Array,
  { count, grid, patch, channels }: { count: number; grid: number; patch: number; channels: number },
): Float32Array {
  const side = grid * patch;
  const out = new Float32Array(patches.length);
  let from = 0;
  for (let row = 0; row < count; row++)
    for (let place = 0; place < grid * grid; place++)
      for (let c = 0; c < channels; c++)
        for (let p = 0; p < patch; p++) {
          const y = Math.floor(place / grid) * patch + p;
          const to = ((row * channels + c) * side + y) * side + (place % grid) * patch;
          out.set(patches.subarray(from, from + patch), to);
          from += patch;
        }
  return out;
}

function frame(
  { images, given, progress }: Run,
  { level, step, steps, squares, side }: { level: number; step: number; steps: number; squares: Squares; side: number },
): Frame {
  return {
    level,
    step,
    steps,
    finished: { image: squares.image.map((i) => i + given.first), x: squares.x, y: squares.y, side },
    done: progress.share(),
    images,
  };
}
