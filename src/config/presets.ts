/** Ready-made architectures for any image size, each with training settings for a few thousand images. */

import { UserError } from "../core/errors.ts";
import { builtInKinds, type Kind, kindOf } from "../levels/table.ts";
import type { ModelConfig, PatchLevel, PixelLevel } from "./model.ts";
import { type RecipeName, recipes } from "./recipes.ts";
import type { TrainingConfig } from "./training.ts";

/** A model configuration without classes, and training settings for it. */
export interface Preset {
  model: Omit<ModelConfig, "classes">;
  training: Partial<TrainingConfig>;
}

/** The sizes of presets, from the smallest. */
export const sizes = ["tiny", "small", "base"] as const;
/** One of `sizes`. */
export type Size = (typeof sizes)[number];
export type { Kind } from "../levels/table.ts";

/** The kinds of presets: of all levels above the pixels, or `mix` for a MAR level above AR levels. */
export const presetKinds = ["mix", ...builtInKinds] as const;
/** One of `presetKinds`. */
export type PresetKind = (typeof presetKinds)[number];

/** The kind of each level, from the first. */
export const kindAt = (kind: PresetKind, level: number): Kind => (kind !== "mix" ? kind : level === 0 ? "mar" : "ar");

/** The choice of a preset. */
export interface Choice {
  size?: Size;
  /** By default `mix`, or `mar` with the published recipe. */
  kind?: PresetKind;
  recipe?: RecipeName;
}

/** The images that a preset is made for. */
export interface PresetImages {
  /** Pixels per side. */
  imageSize: number;
  channels?: number;
  /** Number of training images, which determines the number of steps. */
  images?: number;
}

type Transformer = Omit<PixelLevel, "kind">;

interface Widths {
  first: Transformer;
  /** Used only with three levels above the pixels. */
  between: Transformer;
  last: Transformer;
  pixel: Transformer;
  training: Partial<TrainingConfig>;
  /** Peak learning rates. */
  rates: Record<RecipeName, number>;
  epochs: number;
}

/**
 * At 32x32, with three channels and two levels above the pixels: 4, 7 and 24 million parameters. The widths follow from
 * measurements (docs/speedrun.md): operations are worth most at the pixels, then at the level above them. The first
 * level hardly changes the likelihood, but shapes depend on it.
 */
const presets: Record<Size, Widths> = {
  tiny: {
    first: { width: 192, depth: 6, heads: 6 },
    between: { width: 128, depth: 3, heads: 4 },
    last: { width: 128, depth: 3, heads: 4 },
    pixel: { width: 128, depth: 1, heads: 8 },
    training: { batch: 16, warmup: 100 },
    rates: { published: 0.0014, default: 0.008 },
    epochs: 20,
  },
  small: {
    first: { width: 256, depth: 6, heads: 8 },
    between: { width: 192, depth: 3, heads: 6 },
    last: { width: 192, depth: 3, heads: 6 },
    pixel: { width: 192, depth: 1, heads: 8 },
    training: { batch: 16, warmup: 200 },
    rates: { published: 0.001, default: 0.005 },
    epochs: 40,
  },
  base: {
    first: { width: 512, depth: 6, heads: 8 },
    between: { width: 384, depth: 3, heads: 6 },
    last: { width: 256, depth: 4, heads: 8 },
    pixel: { width: 256, depth: 1, heads: 8 },
    // Large enough to memorise a few thousand images, hence the dropout.
    training: { batch: 32, warmup: 400, attentionDropout: 0.1, projectionDropout: 0.1 },
    rates: { published: 0.0005, default: 0.003 },
    epochs: 60,
  },
};

/** Bounds on the steps: small data sets are seen more often than the preset's epochs, very large ones less often. */
const leastSteps = 3000;
const mostSteps = 40_000;
const usualImages = 6000;

/** Images up to this side get two levels above the pixels; larger ones get three if they can be divided that way. */
const twoLevels = 64;

/**
 * The preset for a choice and data set. Throws a UserError if the image size cannot be divided into patches of patches.
 */
export function presetFor(
  { size = "tiny", recipe = "default", kind = recipe === "published" ? "mar" : "mix" }: Choice,
  { imageSize, channels = 3, images = usualImages }: PresetImages,
): Preset {
  const patches = patchesFor(imageSize);
  if (!patches)
    throw new UserError({
      problem: `there is no preset for images of ${imageSize}x${imageSize} pixels because they cannot be divided into patches of patches`,
      hint: [
        `use another image size, such as ${sizesNear(imageSize).join(" or ")},`,
        { do: "describe the levels in a configuration file", setting: "config" },
      ],
    });
  const { first, between, last, pixel, training, rates, epochs } = presets[size];
  const transformers = patches.length === 3 ? [first, between, last] : [first, last];
  // As published: with three levels above the pixels, the inner levels have a guiding pixel.
  const guidingPixel = patches.length === 3;
  const handsDown = (l: number) => kindOf({ kind: kindAt(kind, l) }).handsDown;
  const level = (transformer: Transformer, l: number): PatchLevel => {
    const conditions = handsDown(Math.max(0, l - 1));
    return {
      kind: kindAt(kind, l),
      patch: patches[l],
      ...transformer,
      ...(conditions > 1 ? { conditions } : {}),
      ...(handsDown(l) > 1 ? { guidingPixel: guidingPixel && l > 0 } : {}),
    };
  };
  const { model: ofModel, training: ofTraining } = recipes[recipe];
  const steps = Math.min(mostSteps, Math.max(leastSteps, Math.round((epochs * images) / training.batch!)));
  return {
    model: {
      imageSize,
      channels,
      levels: [...transformers.map(level), { kind: "pixel", ...pixel }],
      redWeight: channels < 3 ? 1 : ofModel.redWeight,
      sampling: {
        guidance: 2,
        schedule: "constant",
        temperature: 1,
        filterThreshold: 0.0001,
        iterations: usualIterations(
          patches.map((patch, l) => ({
            kind: kindAt(kind, l),
            tokens: ((l === 0 ? imageSize : patches[l - 1]) / patch) ** 2,
          })),
        ),
      },
    },
    training: {
      ...training,
      learningRate: rates[recipe],
      ...ofTraining,
      steps,
      ema: 0.999,
      labelDrop: 0.1,
      // Keeps the cost of a held-out likelihood close to that at 64x64 for every size.
      evaluateImages: Math.max(16, Math.min(256, Math.round(256 * (64 / imageSize) ** 2))),
    },
  };
}

/** The usual decoding steps of levels with these numbers of patches: fewer than patches only if the order is free. */
export const usualIterations = (levels: readonly { kind: string; tokens: number }[]): number[] =>
  levels.map(({ kind, tokens }, l) => {
    if (!kindOf({ kind }).order.hides) return tokens;
    return l === 0 ? Math.min(64, Math.ceil(tokens / 2)) : Math.min(16, tokens);
  });

/** For the emoji, whose classes differ greatly in size: small ones are drawn more often. */
export function emojiPresetFor(choice: Choice, images: PresetImages): Preset {
  const { model, training } = presetFor(choice, images);
  return { model: { name: "emoji", ...model }, training: { ...training, balance: 0.3 } };
}

/** The patch sides of each level, down to single pixels; undefined if there is no sensible division. */
function patchesFor(imageSize: number): number[] | undefined {
  const ways = imageSize > twoLevels ? [threeLevels, oneInside] : [oneInside, threeLevels];
  for (const way of ways) {
    const found = way(imageSize);
    if (found) return found;
  }
  return undefined;
}

/** Patches near 4x4, in a grid of at most 24x24. */
function oneInside(imageSize: number): number[] | undefined {
  const patch = nearest(divisors(imageSize, { most: 8 }), (patch) => cost(patch, 4) + crowding(imageSize / patch));
  return patch === undefined ? undefined : [patch, 1];
}

/** Patches near 16x16, and near 4x4 inside them. */
function threeLevels(imageSize: number): number[] | undefined {
  const pairs = divisors(imageSize, { most: 64 }).flatMap((patch) =>
    divisors(patch, { most: 8 })
      .filter((inside) => patch / inside <= 8)
      .map((inside) => [patch, inside]),
  );
  const pair = nearest(pairs, ([patch, inside]) => cost(patch, 16) + cost(inside, 4) + crowding(imageSize / patch));
  return pair && [...pair, 1];
}

/** Divisors of `size` from 2 to `most`, except `size` itself. */
function divisors(size: number, { most }: { most: number }): number[] {
  const all = Array.from({ length: Math.max(0, Math.min(most, size / 2) - 1) }, (_, i) => i + 2);
  return all.filter((divisor) => size % divisor === 0);
}

function cost(value: number, wanted: number): number {
  return Math.abs(Math.log(value / wanted));
}

/** Attention over more than 16x16 patches becomes slow; more than 24x24 are ruled out. */
function crowding(grid: number): number {
  return grid > 24 ? Infinity : 2 * Math.max(0, Math.log(grid / 16));
}

function nearest<T>(candidates: readonly T[], costOf: (candidate: T) => number): T | undefined {
  let best: { candidate: T; cost: number } | undefined;
  for (const candidate of candidates) {
    const cost = costOf(candidate);
    if (cost < (best?.cost ?? Infinity)) best = { candidate, cost };
  }
  return best?.candidate;
}

/** The next smaller and the next larger size that works. */
function sizesNear(imageSize: number): number[] {
  const works = (size: number) => patchesFor(size) !== undefined;
  const near: number[] = [];
  for (let size = imageSize - 1; size > 3 && near.length === 0; size--) if (works(size)) near.push(size);
  for (let size = imageSize + 1, found = near.length; size < 2 * imageSize + 8 && near.length === found; size++)
    if (works(size)) near.push(size);
  return near;
}
