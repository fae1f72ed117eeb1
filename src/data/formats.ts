/** All supported data set formats, one row each, and detection of a path's format. Decodes nothing. */

import { stat } from "node:fs/promises";
import { didYouMean, UserError } from "../core/errors.ts";
import { checkRegularFile, firstBytes, noSuchFile, pathText, reading } from "../files/regular.ts";
import { isTar } from "./archive.ts";
import { findBatchFile, findBatchFolder, findTar } from "./cifar.ts";
import { findImages } from "./folder.ts";
import { findIdxFile, findIdxFolder } from "./idx.ts";
import { findNpzFolder } from "./npz-folder.ts";
import { findNpz } from "./npz-images.ts";
import { findParquetFile, findParquetFolder } from "./parquet.ts";
import type { Found } from "./source.ts";
import { findTinyImagenet } from "./tiny-imagenet.ts";

interface Options {
  signal?: AbortSignal;
}

/** Detects a folder format; returns undefined if the folder does not have it. */
type FolderFormat = (folder: string, options: Options) => Promise<Found | undefined>;
/** Detects a file format; returns undefined if the file does not have it. */
type FileFormat = (path: string, start: Start) => Promise<Found | undefined>;

/** Whether a file begins with these bytes. */
type Start = (...bytes: number[]) => boolean;

/** The formats in words, for messages and help texts. */
export const dataFormats = "a folder of images, IDX, .npz or Parquet files, or CIFAR's archive or batches";

/** The first match wins. Images come last, because any folder may contain some. */
const folderFormats: Record<string, FolderFormat> = {
  idx: findIdxFolder,
  parquet: findParquetFolder,
  batches: findBatchFolder,
  npz: findNpzFolder,
  tinyImagenet: findTinyImagenet,
  images: findImages,
};

const fileFormats: Record<string, FileFormat> = {
  parquet: async (path, is) => (is(0x50, 0x41, 0x52, 0x31) ? findParquetFile(path) : undefined), // PAR1
  npz: async (path, is) => (is(0x50, 0x4b) ? findNpz(path) : undefined), // a zip
  batches: findBatchFile,
  tar: async (path) => ((await isTar(path)) ? findTar(path) : undefined),
  idx: async (path, is) => (is(0x1f, 0x8b) || idxTypes.some((type) => is(0, 0, type)) ? findIdxFile(path) : undefined),
};

const packers: [start: number[], name: string][] = [
  [[0x42, 0x5a, 0x68], "bzip2"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "xz"],
  [[0x37, 0x7a, 0xbc, 0xaf], "7-Zip"],
  [[0x52, 0x61, 0x72, 0x21], "RAR"],
  [[0x28, 0xb5, 0x2f, 0xfd], "Zstandard"],
];

const idxTypes = [8, 9, 11, 12, 13, 14];

/** Detects what kind of source a path is: a folder by the names in it, a file by its first bytes. */
export async function findSource(path: string, options: Options): Promise<Found> {
  const entry = await reading(path, () => stat(path)).catch((error: unknown) => {
    if (!(error instanceof UserError && error.mistake.problem === noSuchFile)) throw error;
    const near = /[\\/]/.test(path) ? "" : didYouMean(path, ["emoji"]);
    const problem = "there is no such folder or file";
    throw new UserError({ subject: pathText(path), problem, hint: `check the path${near}` }, { cause: error });
  });
  return entry.isDirectory() ? findFolder(path, options) : findFile(path);
}

async function findFolder(path: string, options: Options): Promise<Found> {
  for (const find of Object.values(folderFormats)) {
    const found = await find(path, options);
    if (found) return found;
  }
  throw new Error("no folder format matched");
}

async function findFile(path: string): Promise<Found> {
  await checkRegularFile(path);
  const start = await firstBytes(path, 8);
  const is: Start = (...bytes) => bytes.length <= start.length && bytes.every((byte, i) => start[i] === byte);
  const subject = pathText(path);
  if (start.length === 0) throw new UserError({ subject, problem: "the file is empty", hint: "download it again" });
  for (const find of Object.values(fileFormats)) {
    const found = await find(path, is);
    if (found) return found;
  }
  const packed = packers.find(([bytes]) => is(...bytes));
  if (packed)
    throw new UserError({
      subject,
      problem: `an archive compressed with ${packed[1]}, which is not supported`,
      hint: "unpack it and give the folder",
    });
  throw new UserError({ subject, problem: "not a data set", expected: dataFormats });
}
