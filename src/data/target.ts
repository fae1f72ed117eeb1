/** Chooses the size and channels for a source's images from their headers. Decodes no pixels. */

import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import { inOrder } from "./in-order.ts";
import { measurePicture, type PictureShape, reasonOf } from "./picture.ts";
import { type Source, type SourceImage } from "./source.ts";

export interface Target {
  /** Pixels per side. */
  size: number;
  channels: number;
}

export interface TargetOptions {
  /** The source's name in errors. */
  where: string;
  imageSize?: number;
  channels?: number;
  /** Leave out images smaller than the size instead of rejecting the data. */
  skipSmall?: boolean;
  /** Keep the images' own size; throws a UserError if the images differ in size and none is given. */
  ownSize?: boolean;
  onMeasure?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/** Image files that are all squares of one size up to this keep their size; others are scaled to `usualSize`. */
const smallSize = 64;
const usualSize = 32;

/**
 * The requested size and channels, or suitable ones. Throws a UserError if images are smaller: none is ever enlarged.
 */
export async function targetOf(source: Source, options: TargetOptions): Promise<Target> {
  const { where, imageSize, channels, skipSmall, ownSize } = options;
  const { sides, largestSide, mostChannels } = await sidesOf(source, options);
  const smallest = Math.min(...sides.keys());
  if (smallest === 0)
    throw new UserError({ subject: where, problem: "its images have no pixels", hint: "check the path" });
  const alike = smallest === largestSide;
  // The size of images in arrays was chosen on purpose, even if it is large.
  if (ownSize && imageSize === undefined && sides.size > 1)
    throw new UserError({
      subject: where,
      problem: `its images have different sizes, such as ${examples(sides)}`,
      hint: { do: `choose one size for all, such as ${smallest}`, setting: "imageSize" },
    });
  const own = ownSize || (alike && (source.shape || smallest <= smallSize));
  const size = imageSize ?? (own ? smallest : usualSize);
  const small = new Map([...sides].filter(([side]) => side < size));
  const total = source.count.train + source.count.heldOut;
  const count = [...small.values()].reduce((sum, { count }) => sum + count, 0);
  if (count > 0 && !(skipSmall && count < total))
    throw new UserError({
      subject: where,
      problem: `${counted(count, "image")} of ${total} ${count === 1 ? "is" : "are"} smaller than the image size ${size}: ${examples(small)}`,
      hint: [
        `choose an image size of ${smallest} or less`,
        { do: `leave ${count === 1 ? "it" : "them"} out`, setting: "skipSmall" },
      ],
    });
  return { size, channels: channels ?? (mostChannels < 3 ? 1 : 3) };
}

/** Examples of a few sizes, smallest first. */
function examples(sides: Sides["sides"]): string {
  const sorted = [...sides].sort(([a], [b]) => a - b).map(([, seen]) => seen);
  const some = sorted.slice(0, 3).map(({ name, shape }) => `${shown(name)} (${shape.width}x${shape.height})`);
  return some.join(", ") + (sorted.length > 3 ? " and others" : "");
}

interface Sides {
  /** Keyed by the length of the shorter side: the number of images, and the first one. */
  sides: Map<number, { count: number; name: string; shape: PictureShape }>;
  largestSide: number;
  mostChannels: number;
}

/** Ignores images without a readable header; they are reported when decoded. */
async function sidesOf(source: Source, { where, onMeasure, signal }: TargetOptions): Promise<Sides> {
  const all: Sides = { sides: new Map(), largestSide: 0, mostChannels: 0 };
  const count = source.count.train + source.count.heldOut;
  const add = (shape: PictureShape, { name, count }: { name: string; count: number }) => {
    const side = Math.min(shape.width, shape.height);
    const seen = all.sides.get(side) ?? { count: 0, name, shape };
    all.sides.set(side, { ...seen, count: seen.count + count });
    all.largestSide = Math.max(all.largestSide, shape.width, shape.height);
    all.mostChannels = Math.max(all.mostChannels, shape.channels);
  };
  let failed = "";
  const look = async ({
    name,
    picture,
    unusable,
  }: SourceImage): Promise<{ name: string; shape?: PictureShape; reason?: string }> => {
    if (unusable !== undefined) return { name, reason: unusable };
    try {
      return { name, shape: await measurePicture(picture) };
    } catch (error) {
      return { name, reason: reasonOf(error) };
    }
  };
  if (count === 0) throw new UserError({ subject: where, problem: "it contains no images", hint: "check the path" });
  if (source.shape) add(source.shape, { name: "like all others", count });
  let done = 0;
  for await (const seen of source.shape ? [] : inOrder(source.images(), look, { signal })) {
    if (seen.shape) add(seen.shape, { name: seen.name, count: 1 });
    else failed ||= `${seen.name} ${seen.reason}`;
    onMeasure?.(++done, count);
  }
  if (all.sides.size === 0)
    throw new UserError({
      subject: where,
      problem: `none of its ${counted(count, "image")} can be decoded: ${failed}`,
    });
  return all;
}
