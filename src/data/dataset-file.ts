/** A decoded data set as one file: a JSON header, then the bytes of both splits. Knows nothing of its content. */

import { readFileSync } from "node:fs";
import { UserError } from "../core/errors.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import type { Dataset, Split } from "./dataset.ts";

const magic = "FRACDATA";
const alignment = 64;

interface SplitHeader {
  count: number;
  labels: number[];
  names: string[];
  /** Where the images begin, in bytes after the header. */
  offset: number;
}

interface Header extends Omit<Dataset, "train" | "heldOut"> {
  train: SplitHeader;
  heldOut: SplitHeader;
}

/** Writes under a temporary name and renames, so that a reader never sees half a file; makes the folder. */
export async function writeDatasetFile(path: string, dataset: Dataset): Promise<void> {
  const headerOf = ({ count, labels, names }: Split, offset: number) => ({ count, labels: [...labels], names, offset });
  const header: Header = {
    ...dataset,
    train: headerOf(dataset.train, 0),
    heldOut: headerOf(dataset.heldOut, dataset.train.images.length),
  };
  const json = Buffer.from(JSON.stringify(header));
  const start = startOfImages(json.length);
  const head = Buffer.alloc(start, " ");
  head.write(magic, "latin1");
  head.writeUInt32LE(json.length, 8);
  json.copy(head, 12);

  await writeFileAtomic(path, async (write) => {
    for (const piece of [head, dataset.train.images, dataset.heldOut.images]) await write(piece);
  });
}

/** Reads a file that `writeDatasetFile` wrote; the splits' images are views of one buffer. A UserError when damaged. */
export function readDatasetFile(path: string): Dataset {
  const bytes = readFileSync(path);
  if (bytes.length < 12 || bytes.toString("latin1", 0, 8) !== magic)
    throw new UserError(`${path} is not a decoded data set; remove it and it will be made again`);
  const jsonLength = bytes.readUInt32LE(8);
  const start = startOfImages(jsonLength);
  if (start > bytes.length) throw new UserError(`${path} is cut short; remove it and it will be made again`);
  const header = JSON.parse(bytes.toString("utf8", 12, 12 + jsonLength)) as Header;
  const imageBytes = header.size * header.size * header.channels;
  const expected = start + (header.train.count + header.heldOut.count) * imageBytes;
  if (bytes.length !== expected)
    throw new UserError(`${path} has ${bytes.length} bytes, not ${expected}; remove it and it will be made again`);
  const split = ({ count, labels, names, offset }: SplitHeader): Split => ({
    count,
    labels: Int32Array.from(labels),
    names,
    images: new Uint8Array(bytes.buffer, bytes.byteOffset + start + offset, count * imageBytes),
  });
  return { ...header, train: split(header.train), heldOut: split(header.heldOut) };
}

const startOfImages = (jsonLength: number) => Math.ceil((12 + jsonLength) / alignment) * alignment;
