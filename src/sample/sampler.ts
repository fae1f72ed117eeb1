/** Sampling by recursion over the levels, as a stream of frames. Knows nothing of files, pictures or terminals. */

import { type ModelConfig, type PlacedLevel, placedLevels, prefixTokens, conditionsRead } from "../config/model.ts";
import { normalizedValues } from "../config/normalize.ts";
import { float32, type HostTensor, int32 } from "../core/arrays.ts";
import type { Engine } from "../engine/engine.ts";
import type { WeightData } from "../graph/onnx.ts";
import { directionsRead, neighbour } from "../model/plan.ts";
import { asideFrom, type Draws, patchesAt, seededDraws, type Squares, wholeImages } from "./draws.ts";
import { pastOf } from "./past.ts";
import { guidanceAt, maskedAfter, type Schedule } from "./schedule.ts";
import { type Sessions, samplingSessions } from "./sessions.ts";

/** A model whose weights lie in a safetensors file. */
export interface SampledModel {
  config: ModelConfig;
  /** The folder that holds the file, and where each parameter lies in it. */
  folder: string;
  weights: (name: string) => WeightData;
}

export interface SampleOptions {
  /** One label for each image. */
  labels: readonly number[];
  /** The images' indices of the seed, one for each label; from 0 by default. */
  indices?: readonly number[];
  seed?: number;
  guidance?: number;
  schedule?: Schedule;
  temperature?: number;
  filterThreshold?: number;
  /** Steps at each level above the pixels. */
  iterations?: readonly number[];
  /** Images that are generated side by side; the images do not depend on it. */
  batch?: number;
  signal?: AbortSignal;
  draws?: Draws;
  /** Is given what the model expected of pixels as they are drawn; without it nothing more is computed. */
  watch?: (pixels: WatchedPixels) => void;
}

/** Pixels that were drawn together: image, left and top of each, their bytes [M, C], and the probabilities [M, C, 256]. */
export interface WatchedPixels {
  image: Int32Array;
  x: Int32Array;
  y: Int32Array;
  bytes: Int32Array;
  probabilities: Float32Array;
}

export interface Frame {
  /** The level that took a step: 0 the first, levels - 1 the pixels. */
  level: number;
  /** This step and how many that level takes in a square. */
  step: number;
  steps: number;
  /** The squares that this step finished: image, left, top of each, and their side in pixels. */
  finished: { image: Int32Array; x: Int32Array; y: Int32Array; side: number };
  /** Share of all pixels of all images that are drawn. */
  done: number;
  /** All images so far, [count, S, S, C] bytes; the same array in every frame. Pixels not yet drawn are grey (128). */
  images: Uint8Array;
}

export interface Sampler {
  readonly config: ModelConfig;
  /** Frames, one for every step of every level; returns the finished images. Stops between steps when aborted. */
  sample(options: SampleOptions): AsyncGenerator<Frame, Uint8Array>;
  dispose(): Promise<void>;
}

export function createSampler(engine: Engine, model: SampledModel): Sampler {
  const sessions = samplingSessions(engine, model);
  return {
    config: model.config,
    sample: (options) => sampleImages(sessions, model.config, options),
    dispose: () => sessions.dispose(),
  };
}

/** What the recursion carries down. */
interface Run {
  config: ModelConfig;
  levels: PlacedLevel[];
  sessions: Sessions;
  guided: boolean;
  options: Required<Pick<SampleOptions, "temperature" | "filterThreshold" | "schedule">>;
  iterations: readonly number[];
  draws: Draws;
  signal?: AbortSignal;
  watch?: SampleOptions["watch"];
  images: Uint8Array;
  /** The first image of the batch. */
  from: number;
  values: Float32Array;
  progress: { pixels: number };
}

async function* sampleImages(
  sessions: Sessions,
  config: ModelConfig,
  options: SampleOptions,
): AsyncGenerator<Frame, Uint8Array> {
  const { labels, seed = 0, batch = 16, draws = seededDraws, signal, watch } = options;
  const defaults = config.sampling;
  const { guidance = defaults.guidance, schedule = defaults.schedule } = options;
  const { temperature = defaults.temperature, filterThreshold = defaults.filterThreshold } = options;
  const levels = placedLevels(config);
  const indices = options.indices ?? labels.map((_, i) => i);
  const iterations = options.iterations ?? defaults.iterations ?? levels.map(({ tokens }) => tokens);
  if (indices.length !== labels.length || iterations.length !== levels.length || !iterations.every((n) => n >= 1))
    throw new Error(
      `sample: expected an index for each of ${labels.length} labels and ${levels.length} iterations of at least 1, got ${indices.length} indices and iterations ${iterations.join(",")}`,
    );
  const images = new Uint8Array(labels.length * config.imageSize ** 2 * config.channels).fill(128);
  const progress = { pixels: 0 };
  for (let from = 0; from < labels.length; from += batch) {
    const part = labels.slice(from, from + batch);
    const guided = guidance !== 1;
    const run: Run = {
      config,
      levels,
      sessions,
      guided,
      options: { temperature, filterThreshold, schedule },
      iterations,
      draws,
      signal,
      watch,
      images,
      from,
      values: normalizedValues(config.channels),
      progress,
    };
    const classes = guided ? [...part, ...part.map(() => config.classes.length)] : [...part];
    const begin = { labels: int32(classes, [classes.length]) };
    yield* square(run, 0, wholeImages(seed, indices.slice(from, from + batch)), begin, guidance);
  }
  return images;
}

type Patches = Float32Array;

/** Generates the squares of level l; `conditions` are its begin graph's inputs. Returns [R, C * side * side] values. */
async function* square(
  run: Run,
  l: number,
  rows: Squares,
  conditions: Record<string, HostTensor>,
  guidance: number,
): AsyncGenerator<Frame, Patches> {
  const level = run.levels[l];
  const feeds = { ...conditions };
  if (level.kind === "mar" && level.guidingPixel) {
    const session = await run.sessions.guiding(l, run.guided);
    const { values } = await drawPixels(run, session, asideFrom(rows), conditions.conditions, guidance);
    feeds.colour = float32(run.guided ? twice(values) : values, [
      (values.length / run.config.channels) * ways(run),
      run.config.channels,
    ]);
  }
  const { prefix } = await (await run.sessions.begin(l)).run(feeds);
  return yield* level.kind === "mar"
    ? marSquare(run, l, rows, prefix, guidance)
    : arSquare(run, l, rows, prefix, guidance);
}

const ways = ({ guided }: Run): number => (guided ? 2 : 1);

function twice(values: Float32Array): Float32Array {
  const both = new Float32Array(values.length * 2);
  both.set(values);
  both.set(values, values.length);
  return both;
}

async function* marSquare(
  run: Run,
  l: number,
  rows: Squares,
  prefix: HostTensor,
  guidance: number,
): AsyncGenerator<Frame, Patches> {
  const { tokens, patch, grid } = run.levels[l];
  const count = rows.keys.length;
  const width = run.config.channels * patch ** 2;
  const steps = Math.min(tokens, run.iterations[l]);
  const orders = run.draws.orders(rows, tokens);
  const patches = new Float32Array(count * tokens * width);
  const mask = new Float32Array(count * tokens).fill(1);
  const session = await run.sessions.step(l, run.guided);
  let masked = tokens;
  for (let step = 0; step < steps; step++) {
    run.signal?.throwIfAborted();
    const next = maskedAfter(step, steps, tokens, masked);
    const until = step === steps - 1 ? 0 : next;
    const places = chosenPlaces(orders, tokens, until, masked);
    masked = until;
    if (places.length === 0) continue;
    const { conditions } = await session.run({
      prefix,
      patches: float32(patches, [count, tokens, width]),
      mask: float32(mask, [count, tokens]),
      ...readAndTake(run, l, places, count),
    });
    const strength = l === 0 ? guidanceAt(guidance, run.options.schedule, (tokens - next) / tokens) : guidance;
    const below = patchesAt(rows, places, { grid, patch });
    const drawn = yield* inside(run, l, below, conditions, strength);
    const each = places.length / count;
    places.forEach((place, i) => {
      const slot = Math.floor(i / each) * tokens + place;
      patches.set(drawn.subarray(i * width, (i + 1) * width), slot * width);
      mask[slot] = 0;
    });
    yield frame(run, { level: l, step: step + 1, steps, squares: below, side: patch });
  }
  return unpatchify(patches, { count, grid, patch, channels: run.config.channels });
}

/** The patches that this step decodes, each row's in ascending order: those that leave order[0 .. masked). */
function chosenPlaces(orders: Int32Array, tokens: number, until: number, masked: number): Int32Array {
  const rows = orders.length / tokens;
  const each = masked - until;
  const places = new Int32Array(rows * each);
  for (let row = 0; row < rows; row++)
    places.set(orders.slice(row * tokens + until, row * tokens + masked).sort(), row * each);
  return places;
}

/**
 * Which tokens' outputs the step has to compute, and where among them each chosen patch finds its conditions. Few
 * patches: just those around them; many: all patches, each once.
 */
function readAndTake(run: Run, l: number, places: Int32Array, count: number): { read: HostTensor; take: HostTensor } {
  const level = run.levels[l];
  const { tokens, grid } = level;
  const before = prefixTokens(level);
  const around = directionsRead(conditionsRead(run.config, l));
  const each = places.length / count;
  const all = each * around.length >= tokens;
  const length = all ? tokens : each * around.length;
  const total = ways(run) * count * length;
  const read = new Int32Array(ways(run) * count * length);
  const take = new Int32Array(ways(run) * places.length * around.length);
  if (all) for (let i = 0; i < read.length; i++) read[i] = before + (i % tokens);
  for (let way = 0; way < ways(run); way++)
    for (let i = 0; i < places.length; i++) {
      const row = way * count + Math.floor(i / each);
      for (let d = 0; d < around.length; d++) {
        const other = neighbour(places[i], grid, around[d]);
        const slot = all ? other : (i % each) * around.length + d;
        if (!all) read[row * length + slot] = before + Math.max(0, other);
        take[(way * places.length + i) * around.length + d] = other < 0 ? total : row * length + slot;
      }
    }
  return {
    read: int32(read, [ways(run) * count, length]),
    take: int32(take, [ways(run) * places.length, around.length]),
  };
}

async function* arSquare(
  run: Run,
  l: number,
  rows: Squares,
  prefix: HostTensor,
  guidance: number,
): AsyncGenerator<Frame, Patches> {
  const level = run.levels[l];
  const { tokens, patch, grid, depth, heads } = level;
  const count = rows.keys.length;
  const width = run.config.channels * patch ** 2;
  const patches = new Float32Array(count * tokens * width);
  const session = await run.sessions.step(l, run.guided);
  let previous = new Float32Array(count * width);
  const past = pastOf({ depth, rows: ways(run) * count, heads, headWidth: level.width / heads, tokens });
  for (let step = 0; step < tokens; step++) {
    run.signal?.throwIfAborted();
    const outputs = await session.run({
      ...past.feeds(),
      prefix,
      patch: float32(previous, [count, width]),
      position: int32([step], [1]),
    });
    past.add(outputs);
    const strength = l === 0 ? guidanceAt(guidance, run.options.schedule, (step + 1) / tokens) : guidance;
    const below = patchesAt(rows, new Int32Array(count).fill(step), { grid, patch });
    const drawn = yield* inside(run, l, below, outputs.conditions, strength);
    for (let row = 0; row < count; row++)
      patches.set(drawn.subarray(row * width, (row + 1) * width), (row * tokens + step) * width);
    previous = drawn as Float32Array<ArrayBuffer>;
    yield frame(run, { level: l, step: step + 1, steps: tokens, squares: below, side: patch });
  }
  return unpatchify(patches, { count, grid, patch, channels: run.config.channels });
}

/** What stands inside the patches of level l: squares of the next level, or pixels. */
async function* inside(
  run: Run,
  l: number,
  rows: Squares,
  conditions: HostTensor,
  guidance: number,
): AsyncGenerator<Frame, Patches> {
  if (l + 1 < run.levels.length) return yield* square(run, l + 1, rows, { conditions }, guidance);
  const session = await run.sessions.pixels(run.guided, { probabilities: run.watch !== undefined });
  const { bytes, values, probabilities } = await drawPixels(run, session, rows, conditions, guidance);
  const { x, y } = rows;
  if (probabilities) run.watch?.({ image: rows.image.map((i) => i + run.from), x, y, bytes, probabilities });
  const { imageSize, channels } = run.config;
  for (let i = 0; i < rows.keys.length; i++)
    for (let c = 0; c < channels; c++)
      run.images[(((run.from + rows.image[i]) * imageSize + rows.y[i]) * imageSize + rows.x[i]) * channels + c] =
        bytes[i * channels + c];
  run.progress.pixels += rows.keys.length;
  return values;
}

/** One pixel for each row: its bytes and the values that models see. */
async function drawPixels(
  run: Run,
  session: Awaited<ReturnType<Sessions["pixels"]>>,
  rows: Squares,
  conditions: HostTensor,
  guidance: number,
): Promise<{ bytes: Int32Array; values: Float32Array; probabilities?: Float32Array }> {
  const { channels } = run.config;
  const scalar = (value: number) => float32([value], []);
  const result = await session.run({
    conditions,
    uniforms: float32(run.draws.uniforms(rows, channels), [rows.keys.length, channels]),
    temperature: scalar(run.options.temperature),
    guidance: scalar(guidance),
    filterThreshold: scalar(run.options.filterThreshold),
  });
  const bytes = result.bytes.data as Int32Array;
  const values = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) values[i] = run.values[(i % channels) * 256 + bytes[i]];
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
  { images, from, progress, config }: Run,
  { level, step, steps, squares, side }: { level: number; step: number; steps: number; squares: Squares; side: number },
): Frame {
  return {
    level,
    step,
    steps,
    finished: { image: squares.image.map((i) => i + from), x: squares.x, y: squares.y, side },
    done: (progress.pixels * config.channels) / images.length,
    images,
  };
}
