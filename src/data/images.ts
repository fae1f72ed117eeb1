/** All images of a folder or file as a stream, such as a model's samples: no part is held out, and nothing is cached. */

import { UserError } from "../core/errors.ts";
import { decodedImages } from "./decode.ts";
import type { Skipped } from "./dataset.ts";
import { findSource } from "./formats.ts";
import { type Target, targetOf, type TargetOptions } from "./target.ts";

export interface ImageStream extends Target {
  /** How many there are, those included that will turn out not to decode. */
  count: number;
  /** How many had another size or shape and were cropped or scaled down, so far. */
  readonly resized: number;
  /** Images that did not decode, so far. */
  skipped: readonly Skipped[];
  /** Bytes [size, size, channels], cropped as for training. A UserError where none decodes. */
  images(): AsyncGenerator<{ name: string; data: Uint8Array }>;
}

/**
 * Takes the paths that `openDataset` takes, and reads headers alone; size and channels are the images' own unless given. A
 * UserError says what is wrong with them.
 */
export async function openImages(path: string, options: Omit<TargetOptions, "where">): Promise<ImageStream> {
  const source = await (await findSource(path, options)).open();
  const target = await targetOf(source, { ...options, ownSize: true, where: path });
  const skipped: Skipped[] = [];
  let changed = 0;
  return {
    ...target,
    get resized() {
      return changed;
    },
    count: source.count.train + source.count.heldOut,
    skipped,
    async *images() {
      skipped.length = 0;
      changed = 0;
      let decoded = 0;
      for await (const { image, data, resized, reason = "" } of decodedImages(source, target, options)) {
        if (data) yield { name: image.name, data };
        else skipped.push({ name: image.name, reason });
        if (data) decoded++;
        if (resized) changed++;
      }
      if (decoded === 0) throw new UserError(`${path}: none of its images can be decoded`);
    },
  };
}
