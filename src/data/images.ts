/** Streams all images of a folder or file, such as a model's samples. Nothing is held out, and nothing is cached. */

import { UserError } from "../core/errors.ts";
import { decodedImages } from "./decode.ts";
import type { Skipped } from "./dataset.ts";
import { findSource } from "./formats.ts";
import { type Target, targetOf, type TargetOptions } from "./target.ts";

export interface ImageStream extends Target {
  /** The total number, including images that may turn out not to decode. */
  count: number;
  /** The number of images so far that had a different size or shape and were cropped or scaled down. */
  readonly resized: number;
  /** Images that did not decode, so far. */
  skipped: readonly Skipped[];
  /** Yields bytes [size, size, channels], cropped as for training. Throws a UserError if no image decodes. */
  images(): AsyncGenerator<{ name: string; data: Uint8Array }>;
}

/**
 * Accepts the same paths as `openDataset` and reads only headers. Size and channels are the images' own unless given.
 * Throws a UserError if something is wrong with the images.
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
      if (decoded === 0)
        throw new UserError({ subject: path, problem: "none of its images can be decoded", hint: "check the files" });
    },
  };
}
