/**
 * A decoded data set as one file: the images, then what is known of them, so that images are written as they come and
 * memory stays flat. Images are read by position when they are asked for. Knows nothing of where they come from.
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

/** A data set but for its bytes, which lie in the file. */
export type DatasetContent = Omit<Dataset, "train" | "heldOut" | "fingerprint"> & {
  train: WrittenSplit;
  heldOut: WrittenSplit;
};

/** A split of a file: its n-th image is the `places[n]`-th that was written. */
export interface WrittenSplit extends Pick<Split, "labels" | "names"> {
  places: Int32Array;
}

export interface ImageWriter {
  /** Writes the next image. */
  append(image: Uint8Array): Promise<void>;
  /** A hash of every image so far: equal for equal images. */
  digests: readonly string[];
}

interface Header extends Omit<DatasetContent, "train" | "heldOut"> {
  fingerprint: string;
  train: string[];
  heldOut: string[];
}

/**
 * Writes the images that `fill` appends, and then the content it returns. Under a temporary name first, then renamed,
 * so that a reader never sees half a file and several processes may write the same one; makes the folder.
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

/** Writes a data set that is in memory; its fingerprint is made anew. */
export async function writeDatasetFile(path: string, dataset: Dataset): Promise<void> {
  await writeImages(path, async ({ append, digests }) => {
    const part = async (split: Split): Promise<WrittenSplit> => {
      const first = digests.length;
      for (let index = 0; index < split.count; index++) await append(split.image(index));
      const places = Int32Array.from({ length: split.count }, (_, index) => first + index);
      return { labels: split.labels, names: split.names, places };
    };
    return { ...dataset, train: await part(dataset.train), heldOut: await part(dataset.heldOut) };
  });
}

/** Opens a file that `writeImages` wrote; it stays open while the data set is in use. A UserError when damaged. */
export function readDatasetFile(path: string): Dataset {
  const file = new OpenFile(path);
  const trailer = file.read(Math.max(0, file.bytes - trailerBytes), trailerBytes);
  if (trailer.toString("latin1", trailerBytes - 8) !== magic)
    throw damaged(path, "is cut short or no decoded data set");
  const [train, heldOut, jsonBytes] = [32, 36, 40].map((at) => trailer.readUInt32LE(at));
  const numberBytes = 8 * (train + heldOut);
  const footerBytes = numberBytes + jsonBytes;
  const footer = file.read(Math.max(0, file.bytes - trailerBytes - footerBytes), footerBytes);
  if (!createHash("sha256").update(footer).digest().equals(trailer.subarray(0, 32)))
    throw damaged(path, "was changed or is damaged");
  const header = JSON.parse(footer.toString("utf8", numberBytes)) as Header;
  const imageBytes = header.size * header.size * header.channels;

  const split = (names: string[], at: number): Split => {
    const count = names.length;
    const [places, labels] = [at, at + 4 * count].map((start) => int32s(footer.subarray(start, start + 4 * count)));
    if (places.some((place) => (place + 1) * imageBytes > file.bytes - trailerBytes - footerBytes))
      throw damaged(path, "lacks images");
    return { count, labels, names, image: (index) => file.read(places[index] * imageBytes, imageBytes) };
  };
  return { ...header, train: split(header.train, 0), heldOut: split(header.heldOut, 8 * train) };
}

/** A file that closes itself when nothing refers to it any more: a data set has no end at which to close it. */
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
      if (count === 0) throw damaged(this.#path, "is cut short");
      filled += count;
    }
    return bytes;
  }
}

const damaged = (path: string, what: string) => new UserError(`${path} ${what}; remove it and it will be made again`);

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/** A copy, since an array of int32 must start at a multiple of four. */
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
