/**
 * A decoded data set as one file: the images, then their metadata, so that images are written as they arrive and memory
 * use stays constant. Images are read by position on demand. Knows nothing of where they come from.
 *
 * images | places and labels of train, then of held-out (int32) | JSON | SHA-256 of the two before, counts, "FRACDAT2"
 */

import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import type { Dataset, Split } from "./dataset.ts";

/** Raised whenever the layout changes, and part of every cached file's name. */
export const datasetFormat = 2;
const magic = `FRACDAT${datasetFormat}`;
const trailerBytes = 56;

/** A data set without its image bytes, which are in the file. */
export type DatasetContent = Omit<Dataset, "train" | "heldOut" | "fingerprint"> & {
  train: WrittenSplit;
  heldOut: WrittenSplit;
};

/** A split of a file: its n-th image is the `places[n]`-th image in the file. */
export interface WrittenSplit extends Pick<Split, "labels" | "names"> {
  places: Int32Array;
}

export interface ImageWriter {
  /** Writes the next image. */
  append(image: Uint8Array): Promise<void>;
  /** The hash of every image written so far. */
  digests: readonly string[];
}

interface Header extends Omit<DatasetContent, "train" | "heldOut"> {
  fingerprint: string;
  train: string[];
  heldOut: string[];
}

/**
 * Writes the images that `fill` appends, then the content it returns. The file is written atomically, so a reader never
 * sees an incomplete one and several processes may write the same file. Creates the folder.
 */
export async function writeImages(path: string, fill: (writer: ImageWriter) => Promise<DatasetContent>): Promise<void> {
  await writeFileAtomic(path, async (write) => {
    const digests: string[] = [];
    const append = async (image: Uint8Array) => {
      digests.push(createHash("sha256").update(image).digest("binary"));
      await write(image);
    };
    const content = await fill({ append, digests });
    const { train, heldOut } = content;
    const fingerprint = fingerprintOf(content, digests);
    const header: Header = { ...content, fingerprint, train: train.names, heldOut: heldOut.names };
    const json = Buffer.from(JSON.stringify(header));
    const numbers = [train.places, train.labels, heldOut.places, heldOut.labels].map(bytesOf);
    const footer = Buffer.concat([...numbers, json]);
    const trailer = Buffer.alloc(trailerBytes);
    createHash("sha256").update(footer).digest().copy(trailer);
    [train.places.length, heldOut.places.length, json.length].forEach((n, i) => trailer.writeUInt32LE(n, 32 + 4 * i));
    trailer.write(magic, trailerBytes - 8, "latin1");
    await write(footer);
    await write(trailer);
  });
}

/**
 * Writes a data set held in memory; its fingerprint is recomputed. A function that makes the data set is called when the
 * file is open, so that a folder that cannot be written to is noticed before the work.
 */
export async function writeDatasetFile(path: string, given: Dataset | (() => Promise<Dataset>)): Promise<void> {
  await writeImages(path, async ({ append, digests }) => {
    const dataset = typeof given === "function" ? await given() : given;
    const part = async (split: Split): Promise<WrittenSplit> => {
      const first = digests.length;
      for (let index = 0; index < split.count; index++) await append(split.image(index));
      const places = Int32Array.from({ length: split.count }, (_, index) => first + index);
      return { labels: split.labels, names: split.names, places };
    };
    return { ...dataset, train: await part(dataset.train), heldOut: await part(dataset.heldOut) };
  });
}

/**
 * Opens a file written by `writeImages`; it stays open while the data set is in use. Throws a UserError if it is
 * damaged.
 */
export function readDatasetFile(path: string): Dataset {
  const file = new OpenFile(path);
  const trailer = file.read(Math.max(0, file.bytes - trailerBytes), trailerBytes);
  if (trailer.toString("latin1", trailerBytes - 8) !== magic)
    throw damaged(path, "it is truncated or not a decoded data set");
  const [train, heldOut, jsonBytes] = [32, 36, 40].map((at) => trailer.readUInt32LE(at));
  const numberBytes = 8 * (train + heldOut);
  const footerBytes = numberBytes + jsonBytes;
  const footer = file.read(Math.max(0, file.bytes - trailerBytes - footerBytes), footerBytes);
  if (!createHash("sha256").update(footer).digest().equals(trailer.subarray(0, 32)))
    throw damaged(path, "it has been changed or is damaged");
  const header = JSON.parse(footer.toString("utf8", numberBytes)) as Header;
  const imageBytes = header.size * header.size * header.channels;

  const split = (names: string[], at: number): Split => {
    const count = names.length;
    const [places, labels] = [at, at + 4 * count].map((start) => int32s(footer.subarray(start, start + 4 * count)));
    if (places.some((place) => (place + 1) * imageBytes > file.bytes - trailerBytes - footerBytes))
      throw damaged(path, "it lacks images");
    return { count, labels, names, image: (index) => file.read(places[index] * imageBytes, imageBytes) };
  };
  return { ...header, train: split(header.train, 0), heldOut: split(header.heldOut, 8 * train) };
}

/** A file that closes itself when it is garbage-collected, because data sets have no explicit end of use. */
class OpenFile {
  static readonly #closing = new FinalizationRegistry<number>((descriptor) => closeSync(descriptor));
  readonly #descriptor: number;
  readonly #path: string;
  readonly bytes: number;
  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, "r");
    OpenFile.#closing.register(this, this.#descriptor);
    this.bytes = fstatSync(this.#descriptor).size;
  }

  read(position: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let filled = 0; filled < length;) {
      const count = readSync(this.#descriptor, bytes, filled, Math.min(length - filled, 1 << 28), position + filled);
      if (count === 0) throw damaged(this.#path, "it is truncated");
      filled += count;
    }
    return bytes;
  }
}

const damaged = (path: string, what: string) =>
  new UserError({ subject: path, problem: what, hint: "delete it, and it will be created again" });

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/** Copies the bytes, because an int32 array must be aligned to four bytes. */
const int32s = (bytes: Uint8Array) => new Int32Array(Uint8Array.from(bytes).buffer);

function fingerprintOf(
  { size, channels, classes, train, heldOut }: DatasetContent,
  digests: readonly string[],
): string {
  const names = classes.length > 1 ? classes : 1;
  const hash = createHash("sha256").update(JSON.stringify([size, channels, names]));
  for (const { places, labels } of [train, heldOut]) {
    hash.update(`${places.length}`).update(bytesOf(labels));
    for (const place of places) hash.update(digests[place], "binary");
  }
  return hash.digest("hex").slice(0, 32);
}
