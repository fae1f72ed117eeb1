/** A source's images, decoded once into a data set's file, and which of them are held out. Knows no kind of source. */

import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { centerCrop } from "./crop.ts";
import { type DatasetContent, type ImageWriter, type WrittenSplit, writeImages } from "./dataset-file.ts";
import type { Skipped } from "./dataset.ts";
import { inOrder } from "./in-order.ts";
import { type Decoded as DecodedPicture, decodeInto, PictureError, reasonOf, toChannels } from "./picture.ts";
import { listed, type Source, type SourceImage } from "./source.ts";
import { chooseHeldOut, type HeldOutShare } from "./split.ts";
import { type Target, targetOf, type TargetOptions } from "./target.ts";

// Raise this whenever the code gives other images, labels or splits for the same source.
export const recipe = 2;

export interface DecodeOptions extends TargetOptions {
  /** What to hold out; without it, what the source itself holds out. */
  share?: HeldOutShare;
  onProgress?: (done: number, total: number) => void;
  onSkipped?: (name: string, reason: string) => void;
}

/** Writes the data set's file. Images that do not decode are skipped and named; UserErrors leave no file behind. */
export async function decodeSource(source: Source, path: string, options: DecodeOptions): Promise<void> {
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

/** What is known of the images in the file, one entry for each. */
interface Decoded {
  names: string[];
  labels: number[];
  heldOut: boolean[];
  /** How many had another shape than the target. */
  resized: number;
  /** The largest byte of all. */
  largest: number;
  /** How many held floats, by how these were read. */
  floats: Map<string, number>;
}

/** No picture is meant to be as dark as this. */
const darkest = 2;

function valueNotes({ names, largest, floats }: Decoded): string[] {
  const notes = [...floats].map(([how, count]) => `${counted(count, "image")} of floats: ${how}`);
  if (names.length > 0 && largest <= darkest)
    notes.push(
      `no value of any image is above ${largest} of 255, so all are as good as black; where floats from 0 to 1 were cast to uint8, save them as they are, or as (255 * x).round().astype("uint8")`,
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
  /** Without its picture, which may be large and is not needed any more. */
  image: Omit<SourceImage, "picture">;
  /** Bytes [size, size, channels]; without them `reason` says why. */
  data?: Uint8Array;
  reason?: string;
  /** It had another shape, and was cropped or scaled down. */
  resized?: boolean;
  /** It held floats, and how these were read. */
  floats?: string;
}

/** All images of a source in its order, decoded and cropped. */
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
        // Its header said otherwise: files can change, and some formats hold several images.
        if (Math.min(pixels.width, pixels.height) < size) throw new PictureError(tooSmall(pixels, size));
        const { width, height, floats } = pixels;
        const resized = width !== size || height !== size;
        return { image, resized, floats, data: centerCrop(toChannels(pixels, channels), size).data };
      };
      return decodeInto(picture, cropped).catch((error: unknown) => ({ image, reason: reasonOf(error) }));
    },
    { signal },
  );
}

export const tooSmall = ({ width, height }: { width: number; height: number }, size: number): string =>
  `has ${width}x${height} pixels, too few for ${size}x${size}`;

interface Splitting extends Pick<DecodeOptions, "where" | "share"> {
  digests: readonly string[];
  skip: (name: string, reason: string) => void;
}

/** Both parts. No image is in both: an equal of one that is trained on would tell nothing of how new images fare. */
function split(
  images: Decoded,
  { where, share, digests, skip }: Splitting,
): { train: WrittenSplit; heldOut: WrittenSplit } {
  if (images.names.length === 0) throw new UserError(`${where}: none of its images can be decoded`);
  const held = share ? chooseHeldOut(namesToSplit(images, { share, digests }), share) : images.heldOut;
  const all = Array.from(held.keys());
  const train = all.filter((index) => !held[index]);
  const asked = all.filter((index) => held[index]);
  if (train.length === 0 || asked.length === 0)
    throw new UserError(
      `${where}: of the ${asked.length ? "training" : "held-out"} images none can be decoded; put others in their place`,
    );
  const trained = new Map<string, string>(asked.map((index) => [digests[index], ""]));
  for (const index of train) if (trained.has(digests[index])) trained.set(digests[index], images.names[index]);
  const heldOut = asked.filter((index) => {
    const same = trained.get(digests[index]);
    if (same) skip(images.names[index], `is the same image as ${same}, which is trained on, and so is not held out`);
    return !same;
  });
  if (heldOut.length === 0)
    throw new UserError(
      `${where}: every held-out image is also a training image (${images.names[asked[0]]} is ${trained.get(digests[asked[0]])}); hold out others`,
    );
  const part = (indices: number[]): WrittenSplit => ({
    places: Int32Array.from(indices),
    labels: Int32Array.from(indices, (index) => images.labels[index]),
    names: indices.map((index) => images.names[index]),
  });
  return { train: part(train), heldOut: part(heldOut) };
}

/** The names by which a share is held out: equal images go by the first one's, so that they stay together. */
function namesToSplit(
  { names }: Decoded,
  { share, digests }: { share: HeldOutShare; digests: readonly string[] },
): string[] {
  // Groups must stay whole, and one blank image in each would tie them all together.
  if (share.group) return names;
  const first = new Map<string, string>();
  return names.map((name, index) => {
    const same = first.get(digests[index]) ?? name;
    first.set(digests[index], same);
    return same;
  });
}

function classNotes({ classes }: Source, { labels }: WrittenSplit): string[] {
  if (classes.length === 1) return ["there is one class only, so that samples cannot be asked for by class"];
  const trained = new Set(labels);
  const untrained = classes.filter((_, label) => !trained.has(label));
  return untrained.length ? [`no training image is of ${listed(untrained)}: all are held out or skipped`] : [];
}
