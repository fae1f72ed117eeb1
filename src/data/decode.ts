/** Decodes a source's images into a data set file and splits off the held-out set. Knows nothing of kinds of source. */

import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { listed } from "../core/text.ts";
import { centerCrop } from "./crop.ts";
import { type DatasetContent, type ImageWriter, type WrittenSplit, writeImages } from "./dataset-file.ts";
import type { Skipped } from "./dataset.ts";
import { inOrder } from "./in-order.ts";
import { checkClassNames } from "./labels.ts";
import { type Decoded as DecodedPicture, decodeInto, PictureError, reasonOf, toChannels } from "./picture.ts";
import { type Source, type SourceImage } from "./source.ts";
import { chooseHeldOut, type HeldOutShare } from "./split.ts";
import { type Target, targetOf, type TargetOptions } from "./target.ts";

// Raise this whenever the code produces different images, labels or splits for the same source.
export const recipe = 2;

export interface DecodeOptions extends TargetOptions {
  /** The share to hold out. Default: the source's own held-out part. */
  share?: HeldOutShare;
  onProgress?: (done: number, total: number) => void;
  onSkipped?: (name: string, reason: string) => void;
}

/**
 * Writes the data set file. Images that cannot be decoded are skipped and reported; a UserError leaves no file behind.
 */
export async function decodeSource(source: Source, path: string, options: DecodeOptions): Promise<void> {
  checkClassNames(source.classes, options.where);
  const target = await targetOf(source, options);
  await writeImages(path, async (writer): Promise<DatasetContent> => {
    const skipped: Skipped[] = [];
    const skip = (name: string, reason: string) => {
      skipped.push({ name, reason });
      options.onSkipped?.(name, reason);
    };
    const images = await decodeAll(source, { ...options, target, writer, skip });
    const { train, heldOut } = split(images, { ...options, digests: writer.digests, skip });
    const notes = [...source.notes, ...valueNotes(images), ...classNotes(source, train)];
    const { name, classes, format, taken, leftOut } = source;
    const report = { format, taken, leftOut, resized: images.resized };
    return { name, source: options.where, classes, ...target, train, heldOut, skipped, notes, report };
  });
}

/** Metadata of the decoded images, one entry per image. */
interface Decoded {
  names: string[];
  labels: number[];
  heldOut: boolean[];
  /** The number of images with a shape other than the target. */
  resized: number;
  /** The largest byte of all images. */
  largest: number;
  /** The number of images of floats, by how the floats were converted. */
  floats: Map<string, number>;
}

/** If no byte exceeds this, the data are probably wrong. */
const darkest = 2;

function valueNotes({ names, largest, floats }: Decoded): string[] {
  const notes = [...floats].map(([how, count]) => `${counted(count, "image")} of floats: ${how}`);
  if (names.length > 0 && largest <= darkest)
    notes.push(
      `no value in any image is above ${largest} of 255, so all images are almost black; if floats from 0 to 1 were cast to uint8, save the floats themselves, or (255 * x).round().astype("uint8")`,
    );
  return notes;
}

interface Decoding extends Pick<DecodeOptions, "onProgress" | "signal"> {
  target: Target;
  writer: ImageWriter;
  skip: (name: string, reason: string) => void;
}

async function decodeAll(source: Source, { target, writer, skip, onProgress, signal }: Decoding): Promise<Decoded> {
  const total = source.count.train + source.count.heldOut;
  const decoded: Decoded = { names: [], labels: [], heldOut: [], resized: 0, largest: 0, floats: new Map() };
  let done = 0;
  for await (const { image, data, resized, floats, reason = "" } of decodedImages(source, target, { signal })) {
    if (data) {
      await writer.append(data);
      if (resized) decoded.resized++;
      if (floats) decoded.floats.set(floats, (decoded.floats.get(floats) ?? 0) + 1);
      if (decoded.largest <= darkest) decoded.largest = data.reduce((most, value) => Math.max(most, value), 0);
      decoded.names.push(image.name);
      decoded.labels.push(image.label);
      decoded.heldOut.push(image.heldOut);
    } else skip(image.name, reason);
    onProgress?.(++done, total);
  }
  return decoded;
}

export interface DecodedImage {
  /** Without its picture, which may be large and is no longer needed. */
  image: Omit<SourceImage, "picture">;
  /** Bytes [size, size, channels]; if undefined, `reason` says why. */
  data?: Uint8Array;
  reason?: string;
  /** Whether it had a different shape and was cropped or scaled down. */
  resized?: boolean;
  /** How floats were converted, if it held any. */
  floats?: string;
}

/** Decodes and crops all images of a source, in its order. */
export async function* decodedImages(
  source: Source,
  { size, channels }: Target,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<DecodedImage> {
  yield* inOrder(
    source.images(),
    async ({ picture, ...image }): Promise<DecodedImage> => {
      if (image.unusable !== undefined) return { image, reason: image.unusable };
      const cropped = (pixels: DecodedPicture) => {
        // This can differ from the header: files can change, and some formats hold several images.
        if (Math.min(pixels.width, pixels.height) < size) throw new PictureError(tooSmall(pixels, size));
        const { width, height, floats } = pixels;
        const resized = width !== size || height !== size;
        // Channels are removed before the crop and added after it: that takes less memory, and the bytes are the same.
        const cropped = centerCrop(toChannels(pixels, commonChannels(pixels.channels, channels)), size);
        return { image, resized, floats, data: toChannels(cropped, channels).data };
      };
      return decodeInto(picture, cropped).catch((error: unknown) => ({ image, reason: reasonOf(error) }));
    },
    { signal },
  );
}

/** The channels that two numbers of channels (grey, grey and alpha, RGB, RGBA) have in common. */
const commonChannels = (a: number, b: number): number =>
  (Math.min(a, b) < 3 ? 1 : 3) + (a % 2 === 0 && b % 2 === 0 ? 1 : 0);

export const tooSmall = ({ width, height }: { width: number; height: number }, size: number): string =>
  `has ${width}x${height} pixels, too few for ${size}x${size}`;

interface Splitting extends Pick<DecodeOptions, "where" | "share"> {
  digests: readonly string[];
  skip: (name: string, reason: string) => void;
}

/**
 * Makes both splits. Held-out images that equal a training image are dropped, because they would not measure
 * generalisation.
 */
function split(
  images: Decoded,
  { where, share, digests, skip }: Splitting,
): { train: WrittenSplit; heldOut: WrittenSplit } {
  if (images.names.length === 0)
    throw new UserError({ subject: where, problem: "none of its images can be decoded", hint: "check the files" });
  const held = share ? chooseHeldOut(namesToSplit(images, { share, digests }), share) : images.heldOut;
  const all = Array.from(held.keys());
  const train = all.filter((index) => !held[index]);
  const asked = all.filter((index) => held[index]);
  if (train.length === 0 || asked.length === 0)
    throw new UserError({
      subject: where,
      problem: `none of the ${asked.length ? "training" : "held-out"} images can be decoded`,
      hint: "replace them",
    });
  const trained = new Map<string, string>(asked.map((index) => [digests[index], ""]));
  for (const index of train) if (trained.has(digests[index])) trained.set(digests[index], images.names[index]);
  const heldOut = asked.filter((index) => {
    const same = trained.get(digests[index]);
    if (same) skip(images.names[index], `is identical to the training image ${same}, so it is not held out`);
    return !same;
  });
  if (heldOut.length === 0)
    throw new UserError({
      subject: where,
      problem: `every held-out image is also a training image (${images.names[asked[0]]} is identical to ${trained.get(digests[asked[0]])})`,
      hint: "hold out other images",
    });
  const part = (indices: number[]): WrittenSplit => ({
    places: Int32Array.from(indices),
    labels: Int32Array.from(indices, (index) => images.labels[index]),
    names: indices.map((index) => images.names[index]),
  });
  return { train: part(train), heldOut: part(heldOut) };
}

/** The names that decide the split: identical images use the first one's name, so that they stay together. */
function namesToSplit(
  { names }: Decoded,
  { share, digests }: { share: HeldOutShare; digests: readonly string[] },
): string[] {
  // Groups must stay whole, and a blank image in each would merge them all.
  if (share.group) return names;
  const first = new Map<string, string>();
  return names.map((name, index) => {
    const same = first.get(digests[index]) ?? name;
    first.set(digests[index], same);
    return same;
  });
}

function classNotes({ classes }: Source, { labels }: WrittenSplit): string[] {
  if (classes.length === 1) return ["there is only one class, so samples cannot be requested by class"];
  const trained = new Set(labels);
  const untrained = classes.filter((_, label) => !trained.has(label));
  return untrained.length ? [`${listed(untrained)}: no training images, because all are held out or skipped`] : [];
}
