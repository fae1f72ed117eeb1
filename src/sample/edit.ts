/** Editing: variants of one image, part of which is redrawn. Knows nothing of files or tasks. */

import type { ModelConfig } from "../config/model.ts";
import { placedLevels } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { checkKnown } from "./known.ts";
import { grownMask } from "./masks.ts";
import type { Frame, SampleOptions, Sampler } from "./sampler.ts";

/** The options of `edit`: the sampling options and a ring. */
export interface EditOptions extends Omit<SampleOptions, "known"> {
  /** Also redraws this many rings of first-level patches around the mask, which softens the seam; 0 by default. */
  ring?: number;
}

/**
 * The redrawn part of an image [S, S]: the mask, grown by a ring of first-level patches. Throws a UserError if the mask
 * does not fit the model.
 */
export function drawnMask(config: ModelConfig, mask: Uint8Array, { ring = 0 }: { ring?: number } = {}): Uint8Array {
  const { imageSize: size, channels } = config;
  const [{ patch }] = placedLevels(config);
  if (!Number.isSafeInteger(ring) || ring < 0)
    throw new UserError({
      subject: { setting: "ring" },
      expected: "a whole number of patches, at least 0",
      got: `${ring}`,
    });
  if (mask.length !== size ** 2)
    throw new UserError({
      subject: { setting: "mask" },
      expected: `${size}x${size} values (${size ** 2})`,
      got: `${mask.length}`,
    });
  const grown = grownMask(mask, { size, patch, ring });
  checkKnown(config, { images: new Uint8Array(size ** 2 * channels), mask: grown }, 1);
  return grown;
}

/**
 * Yields the frames of one variant of the image [S, S, C] per label, and returns the variants [count, S, S, C]. Pixels
 * where the mask [S, S] is 1 are redrawn; all others keep their exact bytes. Throws a UserError if a size is not the
 * model's, if nothing is to be redrawn, or if an AR level cannot follow the mask.
 */
export async function* edit(
  sampler: Sampler,
  image: Uint8Array,
  mask: Uint8Array,
  { ring, ...options }: EditOptions,
): AsyncGenerator<Frame, Uint8Array> {
  const { imageSize: size, channels } = sampler.config;
  if (image.length !== size ** 2 * channels)
    throw new UserError({
      subject: { setting: "image" },
      expected: `${size}x${size} pixels of ${channels} channel${channels === 1 ? "" : "s"} (${size ** 2 * channels} bytes)`,
      got: `${image.length} bytes`,
    });
  const known = {
    images: copiesOf(image, options.labels.length),
    mask: copiesOf(drawnMask(sampler.config, mask, { ring }), options.labels.length),
  };
  return yield* sampler.sample({ ...options, known });
}

function copiesOf(values: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(values.length * count);
  for (let i = 0; i < count; i++) all.set(values, i * values.length);
  return all;
}
