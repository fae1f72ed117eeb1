/** Pixels that are given instead of drawn: which patches of a square are known, and which masks a model can follow. */

import { type ModelConfig, type PlacedLevel, placedLevels } from "../config/model.ts";
import { alternatives, UserError } from "../core/errors.ts";
import { type AnyKind, kindOf, levelKinds } from "../levels/table.ts";
import { marksIn } from "../model/plan.ts";
import type { Squares } from "./draws.ts";
import type { Side } from "./masks.ts";

/** Pixels that are given. */
export interface Known {
  /** Bytes [count, S, S, C], one image for each label; only kept pixels are read. */
  images: Uint8Array;
  /** 1 for pixels to redraw, 0 for kept pixels: [count, S, S]. */
  mask: Uint8Array;
}

/** Known pixels as the recursion uses them. */
export interface GivenPixels extends Known {
  config: ModelConfig;
  /** The normalised value of each channel and byte. */
  values: Float32Array;
  /** The image of the first row. */
  first: number;
}

/**
 * The initial patches of squares: `patches` [R, N, C p p] with the values of patches that are known completely, and
 * `mask` [R, N], 1 for each patch that has anything to draw.
 */
export function givenPatches(
  { keys: { length: count }, image, x, y }: Squares,
  { tokens, grid, patch }: PlacedLevel,
  { images, mask, config, values, first }: Omit<GivenPixels, keyof Known> & Partial<Known>,
): { patches: Float32Array; mask: Float32Array } {
  const { imageSize: size, channels } = config;
  const width = channels * patch ** 2;
  const patches = new Float32Array(count * tokens * width);
  const masked = new Float32Array(count * tokens).fill(1);
  if (!images || !mask) return { patches, mask: masked };
  for (let row = 0; row < count; row++)
    for (let place = 0; place < tokens; place++) {
      const left = x[row] + (place % grid) * patch;
      const top = y[row] + Math.floor(place / grid) * patch;
      const corner = ((first + image[row]) * size + top) * size + left;
      if (marksIn(mask, corner, { size, side: patch })) continue;
      const slot = row * tokens + place;
      masked[slot] = 0;
      let to = slot * width;
      for (let c = 0; c < channels; c++)
        for (let p = 0; p < patch; p++)
          for (let q = 0; q < patch; q++)
            patches[to++] = values[c * 256 + images[(corner + p * size + q) * channels + c]];
    }
  return { patches, mask: masked };
}

/** The initial images: known pixels, and grey (128) where pixels are to be drawn. */
export function startingImages(
  { imageSize, channels }: ModelConfig,
  { count, known }: { count: number; known?: Known },
): Uint8Array {
  const images = new Uint8Array(count * imageSize ** 2 * channels).fill(128);
  known?.mask.forEach((drawn, at) => {
    if (drawn === 0) images.set(known.images.subarray(at * channels, (at + 1) * channels), at * channels);
  });
  return images;
}

/** How many pixels of the images from .. to are to be drawn. */
export function pixelsDrawn(
  { imageSize }: ModelConfig,
  { from, to, known }: { from: number; to: number; known?: Known },
): number {
  const each = imageSize ** 2;
  if (!known) return (to - from) * each;
  return known.mask.subarray(from * each, to * each).reduce((sum, drawn) => sum + Number(drawn !== 0), 0);
}

/** The known pixels of the images from .. to. */
export function knownPart({ imageSize, channels }: ModelConfig, known: Known, [from, to]: [number, number]): Known {
  const each = imageSize ** 2;
  return {
    images: known.images.slice(from * each * channels, to * each * channels),
    mask: known.mask.slice(from * each, to * each),
  };
}

/**
 * Throws a UserError if a size is not the model's, if an image has nothing to redraw, or if the first level cannot
 * follow the mask.
 */
export function checkKnown(config: ModelConfig, { images, mask }: Known, count: number): void {
  const { imageSize: size, channels } = config;
  const each = size ** 2;
  if (images.length !== count * each * channels)
    throw new UserError({
      subject: { setting: "image" },
      expected: `${size}x${size} pixels of ${channels} channel${channels === 1 ? "" : "s"} (${each * channels} bytes) for each of ${count} labels`,
      got: `${images.length} bytes`,
    });
  if (mask.length !== count * each)
    throw new UserError({
      subject: { setting: "mask" },
      expected: `${size}x${size} values (${each}) for each of ${count} labels`,
      got: `${mask.length}`,
    });
  for (let image = 0; image < count; image++) {
    const own = mask.subarray(image * each, (image + 1) * each);
    if (!marksIn(own, 0, { size, side: size }))
      throw new UserError({
        subject: { setting: "mask" },
        problem: "it marks nothing to redraw",
        hint: "mark at least one pixel",
      });
    checkOrder(own, placedLevels(config)[0]);
  }
}

/**
 * Checks that the order of the first level's kind can follow the mask. Levels inside patches follow any mask: an AR
 * level there keeps known pixels too, but the pixels that it draws depend only on those before them.
 */
function checkOrder(mask: Uint8Array, { size, patch, grid, tokens, ...level }: PlacedLevel): void {
  const at = (place: number) => [(place % grid) * patch, Math.floor(place / grid) * patch];
  const drawn = Array.from({ length: tokens }, (_, place) => {
    const [x, y] = at(place);
    return marksIn(mask, y * size + x, { size, side: patch });
  });
  const stuck = kindOf(level).order.stuckAt(drawn);
  if (!stuck) return;
  const anyMask = alternatives(levelKinds().flatMap((kind) => (followsAny(kind) ? [kind.name] : [])));
  throw new UserError({
    subject: { setting: "mask" },
    problem: `the first level of this model ${stuck.rule}, but the patch of ${patch}x${patch} pixels at ${at(stuck.patch).join(",")} breaks this order`,
    hint: ["use such a mask", `use a model whose first level can follow any mask (its kind is ${anyMask})`],
  });
}

/** Whether a model can follow any mask. If not, it can only continue from an upper part. */
export const followsAnyMask = (config: ModelConfig): boolean => followsAny(kindOf(placedLevels(config)[0]));

const followsAny = ({ order }: AnyKind): boolean => order.stuckAt([true, false]) === undefined;

/** The half that is kept by default when outpainting: the top if the model can only continue from above. */
export const usuallyGiven = (config: ModelConfig): Side => (followsAnyMask(config) ? "left" : "top");
