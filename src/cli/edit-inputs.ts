/** Reads the image and the mask for `fractalgen edit` and brings them to the model's size. */

import { existsSync } from "node:fs";
import { basename } from "node:path";
import type { ModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { centerCrop, type Pixels } from "../data/crop.ts";
import { decode, reasonOf, toChannels } from "../data/picture.ts";
import { usuallyGiven } from "../sample/known.ts";
import { type EditingTask, editingTasks, rectangleMask, type Side, taskMask } from "../sample/masks.ts";

export interface Original {
  /** [S, S, C] bytes. */
  image: Uint8Array;
  /** The size before resizing; a mask may have this size too. */
  width: number;
  height: number;
  /** How the image was brought to the model's size, if it was changed. */
  note?: string;
}

/** Reads an image in the model's size and channels: its largest central square, scaled down, as for training data. */
export async function readOriginal(path: string, { imageSize: size, channels }: ModelConfig): Promise<Original> {
  const pixels = await decoded(path, "--image");
  const { width, height } = pixels;
  if (Math.min(width, height) < size)
    throw new UserError(
      `--image: ${path} has ${width}x${height} pixels, but the model generates ${size}x${size}; use an image at least that large`,
    );
  const note =
    width === size && height === size
      ? undefined
      : `${path} has ${width}x${height} pixels; its central square was scaled to the model's ${size}x${size}`;
  return { image: Uint8Array.from(centerCrop(toChannels(pixels, channels), size).data), width, height, note };
}

export interface MaskFlags {
  task: EditingTask;
  mask?: string;
  given?: Side;
  extent?: number;
}

/** The mask [S, S] given by `--mask`, or the task's default mask; 1 marks pixels to redraw. */
export async function readMask(
  { task, mask, given, extent }: MaskFlags,
  config: ModelConfig,
  original: Original,
): Promise<Uint8Array> {
  const { imageSize: size } = config;
  const tasks = editingTasks.filter((name) => name !== "outpaint").join(", ");
  if (given !== undefined && (task !== "outpaint" || mask !== undefined))
    throw new UserError("--given: this option needs --task outpaint and cannot be combined with --mask");
  if (extent !== undefined && (task === "outpaint" || mask !== undefined))
    throw new UserError(`--extent: this option needs --task ${tasks} and cannot be combined with --mask`);
  if (extent !== undefined && extent > size)
    throw new UserError(`--extent: expected at most the image's ${size} pixels, got ${extent}`);
  if (mask === undefined) return taskMask(size, task, { extent, given: given ?? usuallyGiven(config) });
  if (/^\s*-?\d+(\s*,\s*-?\d+)*\s*$/.test(mask) && !existsSync(mask)) {
    const [x, y, width, height, ...more] = mask.split(",").map(Number);
    if (height === undefined || more.length > 0)
      throw new UserError(`--mask: expected x,y,width,height in pixels or an image file, got "${mask}"`);
    return rectangleMask(size, { x, y, width, height });
  }
  return maskOf(await decoded(mask, "--mask"), { path: mask, size, original });
}

/** White and transparent pixels are redrawn. A mask of the image's original size is cropped and scaled like the image. */
function maskOf(
  pixels: Pixels,
  { path, size, original: { width, height } }: { path: string; size: number; original: Original },
): Uint8Array {
  const own = pixels.width === width && pixels.height === height;
  if (!own && !(pixels.width === size && pixels.height === size))
    throw new UserError(
      `--mask: expected ${size}x${size} pixels, the model's size${width === size && height === size ? "" : `, or ${width}x${height}, the image's`}, got ${path} with ${pixels.width}x${pixels.height}`,
    );
  return centerCrop(toChannels(pixels, 1), size).data.map((luma) => Number(luma >= 128));
}

async function decoded(path: string, option: string): Promise<Pixels> {
  if (!existsSync(path)) throw new UserError(`${option}: the file ${path} does not exist`);
  try {
    return await decode({ file: path });
  } catch (error) {
    throw new UserError(`${option}: ${basename(path)} ${reasonOf(error)}; expected a PNG, JPEG or WebP image`);
  }
}
