/** Editing: variants of one image, a part of which is drawn anew. Knows nothing of files or tasks. */

import type { ModelConfig } from "../config/model.ts";
import { placedLevels } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { checkKnown } from "./known.ts";
import { grownMask } from "./masks.ts";
import type { Frame, SampleOptions, Sampler } from "./sampler.ts";

/** The options of `edit`: those of sampling, and a ring. */
export interface EditOptions extends Omit<SampleOptions, "known"> {
  /** Draws this many more of the first level's patches around what the mask touches, which softens the seam; 0 by default. */
  ring?: number;
}

/** What is drawn of an image [S, S]: the mask, grown by a ring of patches of the first level. UserError where it does not fit. */
export function drawnMask(config: ModelConfig, mask: Uint8Array, { ring = 0 }: { ring?: number } = {}): Uint8Array {
  const { imageSize: size, channels } = config;
  const [{ patch }] = placedLevels(config);
  if (!Number.isSafeInteger(ring) || ring < 0)
    throw new UserError({
      subject: { setting: "ring" },
      expected: `a whole number of patches, at least 0`,
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
 * Frames of one variant of the image [S, S, C] for each label, and at last the variants [count, S, S, C]: where the mask
 * [S, S] is 1 they are drawn anew, all else stays to the byte. UserError where a size is not the model's, where nothing is
 * to be drawn, and where an AR level cannot follow the mask.
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
